"""What the database itself refuses, whatever program talks to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import product
from typing import Any

import psycopg
import pytest

from engine.model import (
    INBOUND_TRANSITIONS,
    OUTBOUND_TRANSITIONS,
    InboundStatus,
    OutboundStatus,
    Outcome,
)
from tests.support.postgres import Server
from tests.support.rows import Connection, Planter, connect, get, insert, lease, update

INBOUND_PAIRS = list(product(InboundStatus, InboundStatus))
OUTBOUND_PAIRS = list(product(OutboundStatus, OutboundStatus))
MINIMAL = """
INSERT INTO et_messages (tenant_id, lead_id, channel, direction, text_content, delivery_status)
VALUES (1, 1, 'simulator', 'inbound', 'hello', 'received') RETURNING id"""
STRANGER = """
INSERT INTO et_messages (tenant_id, channel, direction, text_content, delivery_status, raw_payload)
VALUES (1, 'simulator', 'inbound', 'hello', 'received', '{"from": "+420777"}') RETURNING id"""


@pytest.fixture(scope="module")
def guarded_dsn(embedded: Server) -> Iterator[str]:
    name = embedded.migrated_database()
    yield embedded.dsn(name)
    embedded.drop(name)


@pytest.fixture
def sql(guarded_dsn: str) -> Iterator[Connection]:
    """A connection whose work is undone after the test."""
    with connect(guarded_dsn) as connection:
        connection.execute("BEGIN")
        yield connection
        connection.execute("ROLLBACK")


@pytest.fixture
def planter(sql: Connection) -> Planter:
    return Planter(sql)


def refused(connection: Connection, table: str, row_id: int, **columns: Any) -> str | None:
    """What the database says against the change, constraints of the commit included; None: it agrees."""
    try:
        with connection.transaction():
            assert update(connection, table, row_id, **columns) == 1
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except psycopg.errors.IntegrityError as error:
        return str(error)
    return None


def claim(old: dict[str, Any]) -> dict[str, Any]:
    return {"claim_token": old["claim_token"] + 1, "attempts": old["attempts"] + 1}


@pytest.mark.parametrize(("old", "new"), INBOUND_PAIRS, ids=lambda status: str(status))
def test_inbound_transitions(
    planter: Planter, sql: Connection, old: InboundStatus, new: InboundStatus
) -> None:
    message = planter.inbound(old)
    if InboundStatus.AI_REPLIED in (old, new):
        planter.send(planter.reply(message), OutboundStatus.QUEUED)
    columns: dict[str, Any] = {"delivery_status": new, "lease_until": lease(new is InboundStatus.PROCESSING)}
    if new is InboundStatus.PROCESSING:
        columns |= claim(get(sql, "et_messages", message))
    said = refused(sql, "et_messages", message, **columns)
    if new in INBOUND_TRANSITIONS[old] or new is old:
        assert said is None
    else:
        assert said is not None
        assert "illegal step of inbound message" in said


@pytest.mark.parametrize(("old", "new"), OUTBOUND_PAIRS, ids=lambda status: str(status))
def test_queue_transitions(
    planter: Planter, sql: Connection, old: OutboundStatus, new: OutboundStatus
) -> None:
    send = planter.send(planter.reply(None), old)
    said = refused(
        sql,
        "et_outbound_queue",
        send,
        status=new,
        lease_until=lease(new is OutboundStatus.PROCESSING),
        outcome=None,
        claim_token=get(sql, "et_outbound_queue", send)["claim_token"] + 1,
    )
    if new in OUTBOUND_TRANSITIONS[old] or new is old:
        assert said is None
    else:
        assert said is not None
        assert "illegal step of send" in said


@pytest.mark.parametrize(("old", "new"), OUTBOUND_PAIRS, ids=lambda status: str(status))
def test_mirrored_transitions(
    planter: Planter, sql: Connection, old: OutboundStatus, new: OutboundStatus
) -> None:
    message = planter.reply(None, status=old)
    said = refused(sql, "et_messages", message, delivery_status=new)
    assert (said is None) == (new in OUTBOUND_TRANSITIONS[old] or new is old), said


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_a_status_outside_the_tables_is_refused(planter: Planter, sql: Connection, direction: str) -> None:
    message = (
        planter.inbound(InboundStatus.RECEIVED)
        if direction == "inbound"
        else planter.reply(None, status="queued")
    )
    assert refused(sql, "et_messages", message, delivery_status="done")
    with pytest.raises(psycopg.errors.NotNullViolation), sql.transaction():
        update(sql, "et_messages", message, delivery_status=None)


def test_a_message_does_not_change_sides(planter: Planter, sql: Connection) -> None:
    received = planter.inbound(InboundStatus.RECEIVED)
    assert refused(sql, "et_messages", received, direction="outbound", delivery_status="sent")
    queued = planter.reply(None)
    assert refused(sql, "et_messages", queued, direction="inbound", delivery_status="received")


@pytest.mark.parametrize("status", [*list(InboundStatus)[1:], "sent", "queued", "new"])
def test_an_inbound_message_is_inserted_only_as_received(sql: Connection, status: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="inserted as received"), sql.transaction():
        insert(
            sql, "et_messages", tenant_id=1, channel="simulator", direction="inbound", delivery_status=status
        )


@pytest.mark.parametrize("change", ["no token", "same token", "lower token", "no attempt", "two attempts"])
def test_a_claim_raises_its_token_and_counts_its_attempt(
    planter: Planter, sql: Connection, change: str
) -> None:
    message = planter.inbound(InboundStatus.RECEIVED, claim_token=7, attempts=1)
    columns = {
        "delivery_status": "inbound_processing",
        "lease_until": lease(True),
        "claim_token": 8,
        "attempts": 2,
    }
    match change:
        case "no token":
            del columns["claim_token"]
        case "same token":
            columns["claim_token"] = 7
        case "lower token":
            columns["claim_token"] = 3
        case "no attempt":
            del columns["attempts"]
        case "two attempts":
            columns["attempts"] = 3
    said = refused(sql, "et_messages", message, **columns)
    assert said is not None
    assert "must raise its token and count its attempt" in said


@pytest.mark.parametrize("token", [7, 6])
def test_a_claim_of_a_send_raises_its_token(planter: Planter, sql: Connection, token: int) -> None:
    send = planter.send(planter.reply(None), OutboundStatus.QUEUED, claim_token=7)
    said = refused(
        sql, "et_outbound_queue", send, status="processing", lease_until=lease(True), claim_token=token
    )
    assert said is not None
    assert "must raise its token" in said


@pytest.mark.parametrize("replies", ["none", "two", "one without queue row", "one of a person", "one"])
def test_an_answered_message_has_exactly_one_queued_reply(
    planter: Planter, sql: Connection, replies: str
) -> None:
    message = planter.inbound(InboundStatus.PROCESSING)
    match replies:
        case "two":
            sql.execute("DROP INDEX et_messages_one_reply")
            planter.send(planter.reply(message), OutboundStatus.QUEUED)
            planter.send(planter.reply(message), OutboundStatus.QUEUED)
        case "one without queue row":
            planter.reply(message)
        case "one of a person":
            planter.send(planter.reply(message, author="human"), OutboundStatus.QUEUED)
        case "one":
            planter.send(planter.reply(message), OutboundStatus.QUEUED)
    said = refused(sql, "et_messages", message, delivery_status="inbound_ai_replied", lease_until=None)
    if replies == "one":
        assert said is None
    else:
        assert said is not None
        assert "queued replies" in said


def test_the_reply_may_come_later_in_the_transaction(guarded_dsn: str) -> None:
    """The constraint is deferred: statement order within a commit does not matter, the commit does."""
    with connect(guarded_dsn) as connection:
        planter = Planter(connection)
        message = planter.inbound(InboundStatus.PROCESSING)
        with connection.transaction():
            update(connection, "et_messages", message, delivery_status="inbound_ai_replied", lease_until=None)
            planter.send(planter.reply(message), OutboundStatus.QUEUED)
        assert get(connection, "et_messages", message)["delivery_status"] == "inbound_ai_replied"
        lonely = planter.inbound(InboundStatus.PROCESSING)
        with pytest.raises(psycopg.errors.CheckViolation, match="0 queued replies"), connection.transaction():
            update(connection, "et_messages", lonely, delivery_status="inbound_ai_replied", lease_until=None)
        assert get(connection, "et_messages", lonely)["delivery_status"] == "inbound_processing"


def test_a_burst_needs_the_reply_of_its_head_only(planter: Planter, sql: Connection) -> None:
    head = planter.inbound(InboundStatus.PROCESSING)
    later = planter.inbound(InboundStatus.PROCESSING, turn_head_id=head)
    planter.send(planter.reply(head), OutboundStatus.QUEUED)
    for message in (head, later):
        columns = {"delivery_status": "inbound_ai_replied", "lease_until": None}
        assert refused(sql, "et_messages", message, **columns) is None


def test_one_ai_reply_per_inbound_message(planter: Planter, sql: Connection) -> None:
    message = planter.inbound(InboundStatus.PROCESSING)
    planter.reply(message)
    planter.reply(message, author="human")  # people may answer as often as they like
    with pytest.raises(psycopg.errors.UniqueViolation), sql.transaction():
        planter.reply(message)


def test_one_turn_per_thread(planter: Planter, sql: Connection) -> None:
    thread = planter.thread()
    head = planter.inbound(InboundStatus.PROCESSING, thread_id=thread)
    planter.inbound(InboundStatus.PROCESSING, thread_id=thread, turn_head_id=head)  # the rest of its burst
    with pytest.raises(psycopg.errors.UniqueViolation), sql.transaction():
        planter.inbound(InboundStatus.PROCESSING, thread_id=thread)


def test_one_queue_row_per_message(planter: Planter, sql: Connection) -> None:
    message = planter.reply(None)
    planter.send(message, OutboundStatus.QUEUED)
    with pytest.raises(psycopg.errors.UniqueViolation), sql.transaction():
        planter.send(message, OutboundStatus.FAILED)


@pytest.mark.parametrize("status", InboundStatus)
def test_a_message_has_a_lease_exactly_while_in_processing(
    planter: Planter, sql: Connection, status: InboundStatus
) -> None:
    wrong = lease(status is not InboundStatus.PROCESSING)
    with pytest.raises(psycopg.errors.CheckViolation, match="et_messages_lease"), sql.transaction():
        planter.inbound(status, lease_until=wrong)


@pytest.mark.parametrize("status", OutboundStatus)
def test_a_send_has_a_lease_exactly_while_in_processing(
    planter: Planter, sql: Connection, status: OutboundStatus
) -> None:
    wrong = lease(status is not OutboundStatus.PROCESSING)
    with pytest.raises(psycopg.errors.CheckViolation, match="et_outbound_queue_lease"), sql.transaction():
        planter.send(planter.reply(None), status, lease_until=wrong)


@pytest.mark.parametrize("status", OutboundStatus)
def test_an_unknown_outcome_is_a_failed_one(
    planter: Planter, sql: Connection, status: OutboundStatus
) -> None:
    message = planter.reply(None)
    if status is OutboundStatus.FAILED:
        planter.send(message, status, outcome=Outcome.UNKNOWN)
        return
    with pytest.raises(psycopg.errors.CheckViolation, match="et_outbound_queue_outcome"), sql.transaction():
        planter.send(message, status, outcome=Outcome.UNKNOWN)


def test_an_outcome_is_one_of_the_known_words(planter: Planter, sql: Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="et_outbound_queue_outcome"), sql.transaction():
        planter.send(planter.reply(None), OutboundStatus.FAILED, outcome="lost")


def test_a_started_send_is_never_queued_again_by_itself(planter: Planter, sql: Connection) -> None:
    send = planter.send(planter.reply(None), OutboundStatus.PROCESSING, send_started_at="2026-01-01")
    said = refused(sql, "et_outbound_queue", send, status="queued", lease_until=None)
    assert said is not None
    assert "has started" in said


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.CANCELLED])
def test_only_an_unknown_outcome_is_reconciled(planter: Planter, sql: Connection, outcome: Outcome) -> None:
    send = planter.send(planter.reply(None), OutboundStatus.FAILED, outcome=outcome)
    said = refused(sql, "et_outbound_queue", send, status="sent", outcome=Outcome.CONFIRMED)
    assert said is not None
    assert "known outcome" in said


@pytest.mark.parametrize(
    "columns",
    [{"owner": "nobody"}, {"holder": "engine-1"}, {"lease_until": "2999-01-01"}],
    ids=["owner", "holder without lease", "lease without holder"],
)
def test_a_thread_is_owned_and_held_consistently(
    planter: Planter, sql: Connection, columns: dict[str, Any]
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="et_threads_owner"), sql.transaction():
        planter.thread(**columns)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE et_audit_log SET actor = 'nobody'",
        "DELETE FROM et_audit_log",
        "TRUNCATE et_audit_log",
        "TRUNCATE et_audit_log CASCADE",
    ],
)
def test_the_audit_log_is_append_only(sql: Connection, statement: str) -> None:
    insert(sql, "et_audit_log", actor="ann", act="takeover", subject="thread:1")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"), sql.transaction():
        sql.execute(statement.encode())
    assert len(sql.execute("SELECT FROM et_audit_log").fetchall()) == 1


def test_a_provider_message_is_stored_once_however_many_bring_it(guarded_dsn: str) -> None:
    """Fault 23: a hundred deliveries of the same webhook at the same moment."""
    many = 100
    barrier = threading.Barrier(10)
    stored: list[int] = []

    def bring() -> None:
        with connect(guarded_dsn) as connection:
            barrier.wait(20)
            for _ in range(many // 10):
                row = connection.execute(
                    """INSERT INTO et_messages (tenant_id, channel, direction, text_content, delivery_status,
                                                provider_message_id, raw_payload)
                       VALUES (1, 'simulator', 'inbound', 'hello', 'received', 'wamid.1', '{"from": "+1"}')
                       ON CONFLICT DO NOTHING RETURNING id"""
                ).fetchone()
                stored.extend([row["id"]] if row else [])

    threads = [threading.Thread(target=bring) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(stored) == 1
    with connect(guarded_dsn) as connection:
        rows = connection.execute(
            "SELECT id FROM et_messages WHERE provider_message_id = 'wamid.1'"
        ).fetchall()
        assert [row["id"] for row in rows] == stored
        threads_made = connection.execute("SELECT FROM et_threads WHERE address = '+1'").fetchall()
        assert len(threads_made) == 1
        # The same number at another tenant or on another channel is another message.
        columns = {"direction": "inbound", "delivery_status": "received", "provider_message_id": "wamid.1"}
        insert(connection, "et_messages", tenant_id=2, channel="simulator", **columns)
        insert(connection, "et_messages", tenant_id=1, channel="telegram", **columns)


@pytest.mark.parametrize("statement", [MINIMAL, STRANGER], ids=["core columns", "stranger"])
def test_a_minimal_insert_works_from_any_client(sql: Connection, statement: str) -> None:
    sql.execute("LISTEN et_inbound")
    row = sql.execute(statement.encode()).fetchone()
    assert row is not None
    message = get(sql, "et_messages", row["id"])
    thread = get(sql, "et_threads", message["thread_id"])
    assert message["author"] == "customer"
    assert message["created_at"] is not None
    assert thread["due_at"] is not None
    assert thread["owner"] == "ai"
    if statement == MINIMAL:
        assert thread["lead_id"] == message["lead_id"] == 1
    else:
        assert thread["address"] == "+420777"


@pytest.mark.parametrize(
    "other", [{"lead_id": 2}, {"tenant_id": 2}, {"channel": "telegram"}, {"account": "shop"}]
)
def test_a_message_is_not_put_into_the_thread_of_somebody_else(
    sql: Connection, other: dict[str, Any]
) -> None:
    core = {
        "tenant_id": 1,
        "lead_id": 1,
        "channel": "simulator",
        "direction": "inbound",
        "text_content": "hello",
    }
    core["delivery_status"] = InboundStatus.RECEIVED
    first = get(sql, "et_messages", insert(sql, "et_messages", **core))
    again = insert(sql, "et_messages", **core, thread_id=first["thread_id"])
    assert get(sql, "et_messages", again)["thread_id"] == first["thread_id"]
    theirs = insert(sql, "et_messages", **{**core, **other}, thread_id=first["thread_id"])
    assert get(sql, "et_messages", theirs)["thread_id"] not in (None, first["thread_id"])


def test_inserting_wakes_the_engines(guarded_dsn: str) -> None:
    with connect(guarded_dsn) as listening, connect(guarded_dsn) as writing:
        listening.execute("LISTEN et_inbound")
        row = writing.execute(MINIMAL.encode()).fetchone()
        assert row is not None
        notices = list(listening.notifies(timeout=5, stop_after=1))
        assert [notice.payload for notice in notices] == [str(row["id"])]


def test_the_tables_of_the_model_name_every_status() -> None:
    """A status without a line in the tables would be untested by the pairs above."""
    assert set(INBOUND_TRANSITIONS) == set(InboundStatus)
    assert set(OUTBOUND_TRANSITIONS) == set(OutboundStatus)
    assert len(INBOUND_PAIRS) == 25
    assert len(OUTBOUND_PAIRS) == 36
