"""A long past with everything in it that the Inbox, Outbound and the Journal look for: for plans and timings."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.support.long_past import fill_history

MESSAGES, THREADS = 200_000, 20_000
_STATEMENTS = (
    # Every 100th conversation is a person's; in every 7th the customer has the last word.
    """INSERT INTO et_leads (tenant_id, name) SELECT 1, 'Customer ' || n FROM generate_series(1, %(threads)s) n""",
    """UPDATE et_threads SET lead_id = id, owner = CASE id %% 100 WHEN 0 THEN 'human' ELSE 'ai' END,
              operator = CASE id %% 100 WHEN 0 THEN 'lena' END,
              owner_since = CASE id %% 100 WHEN 0 THEN last_message_at END,
              last_message_at = last_message_at + CASE id %% 7 WHEN 0 THEN interval '0' ELSE interval '1 second' END""",
    # Every 20th send failed, a few of them nobody knows how; many wait their turn.
    """UPDATE et_outbound_queue SET status = 'failed', error_class = 'permanent',
              outcome = CASE WHEN id %% 5000 = 0 THEN 'unknown' ELSE 'rejected' END WHERE id %% 20 = 0""",
    """INSERT INTO et_outbound_queue (message_id, tenant_id, thread_id, channel, author, status)
       SELECT -n, 1, 1 + n %% %(threads)s, 'telegram', 'ai', 'queued' FROM generate_series(1, 5000) n""",
    # In every 20th turn a provider failed.
    """UPDATE et_turns SET attempts = jsonb_build_array(jsonb_build_object('provider', 'uniapi', 'model', 'm',
              'ok', id %% 20 <> 0, 'skipped', false, 'failure', 'transient'))""",
    """INSERT INTO et_audit_log (at, actor, act, subject)
       SELECT now() - (%(messages)s - n) * interval '1 second', 'lena', 'reply', 'thread:' || n
         FROM generate_series(1, %(messages)s) n""",
    """INSERT INTO et_notes (thread_id, author, text_content) SELECT id, 'lena', 'note' FROM et_threads""",
)


def plant_crowd(connection: psycopg.Connection[Any]) -> None:
    """Fill a migrated, empty database. Needs a superuser."""
    fill_history(connection, MESSAGES, THREADS)
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        for statement in _STATEMENTS:
            connection.execute(statement.encode(), {"messages": MESSAGES, "threads": THREADS})
    connection.execute("VACUUM ANALYZE")
