"""What really happened in the database, noted by triggers of the tests in the order of their locks."""

from __future__ import annotations

from typing import Any

from tests.support.rows import connect

#: Numbers of the journal are drawn while the row, and for ownership and starts the thread's row, is locked:
#: their order is the order in which things happened.
INSTALL = """
CREATE TABLE journal (
    id bigserial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), what text NOT NULL,
    row_id bigint NOT NULL, thread_id bigint, before text, after text, author text,
    engine text);

CREATE FUNCTION journal_message() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO journal (what, row_id, thread_id, before, after, author, engine)
    VALUES (NEW.direction, NEW.id, NEW.thread_id, CASE TG_OP WHEN 'UPDATE' THEN OLD.delivery_status END,
            NEW.delivery_status, NEW.author, NEW.claimed_by);
    RETURN NULL; END $$;
CREATE FUNCTION journal_send() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO journal (what, row_id, thread_id, before, after, author, engine)
    VALUES ('send', NEW.message_id, NEW.thread_id, CASE TG_OP WHEN 'UPDATE' THEN OLD.status END, NEW.status,
            NEW.author, NEW.claimed_by);
    RETURN NULL; END $$;
CREATE FUNCTION journal_start() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO journal (what, row_id, thread_id, author, engine)
    VALUES ('start', NEW.message_id, NEW.thread_id, NEW.author, NEW.claimed_by);
    RETURN NULL; END $$;
CREATE FUNCTION journal_owner() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO journal (what, row_id, thread_id, before, after)
    VALUES ('owner', NEW.id, NEW.id, OLD.owner, NEW.owner);
    RETURN NULL; END $$;

CREATE TRIGGER journal_message_new AFTER INSERT ON et_messages
    FOR EACH ROW EXECUTE FUNCTION journal_message();
CREATE TRIGGER journal_message AFTER UPDATE ON et_messages FOR EACH ROW
    WHEN (OLD.delivery_status IS DISTINCT FROM NEW.delivery_status) EXECUTE FUNCTION journal_message();
CREATE TRIGGER journal_send_new AFTER INSERT ON et_outbound_queue
    FOR EACH ROW EXECUTE FUNCTION journal_send();
CREATE TRIGGER journal_send AFTER UPDATE ON et_outbound_queue FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION journal_send();
CREATE TRIGGER journal_start AFTER UPDATE ON et_outbound_queue FOR EACH ROW
    WHEN (OLD.send_started_at IS NULL AND NEW.send_started_at IS NOT NULL) EXECUTE FUNCTION journal_start();
CREATE TRIGGER journal_start_new AFTER INSERT ON et_outbound_queue FOR EACH ROW
    WHEN (NEW.send_started_at IS NOT NULL) EXECUTE FUNCTION journal_start();
CREATE TRIGGER journal_owner AFTER UPDATE ON et_threads FOR EACH ROW
    WHEN (OLD.owner IS DISTINCT FROM NEW.owner) EXECUTE FUNCTION journal_owner();
"""


def install(dsn: str) -> None:
    """Note everything from now on."""
    with connect(dsn) as connection:
        connection.execute(INSTALL.encode())


def read(dsn: str, sql: str, *params: Any) -> list[dict[str, Any]]:
    """Rows of a query on a connection of its own."""
    with connect(dsn) as connection:
        return connection.execute(sql.encode(), params).fetchall()
