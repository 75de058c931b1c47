"""A long history by SQL alone, past the triggers: what plan tests and benches read from."""

from __future__ import annotations

from typing import Any

import psycopg

#: Every 20th conversation is a person's, every 7th of those has the customer waiting.
_STATEMENTS = (
    """INSERT INTO et_leads (tenant_id, name)
       SELECT 1, 'Customer ' || i FROM generate_series(1, %(threads)s) i""",
    """INSERT INTO et_threads (tenant_id, lead_id, channel, address, owner, operator, owner_since, auto_release_at,
                               last_inbound_at, last_message_at)
       SELECT 1, i, CASE WHEN i %% 3 = 0 THEN 'whatsapp_cloud' ELSE 'simulator' END, '+49' || i,
              CASE WHEN i %% %(human_every)s = 0 THEN 'human' ELSE 'ai' END,
              CASE WHEN i %% %(human_every)s = 0 THEN 'anna' END,
              now() - make_interval(secs => %(threads)s - i), NULL,
              now() - make_interval(secs => %(threads)s - i),
              now() - make_interval(secs => %(threads)s - i)
                    + CASE WHEN i %% 7 = 0 THEN interval '0' ELSE interval '1 second' END
         FROM generate_series(1, %(threads)s) i""",
    """INSERT INTO et_messages (tenant_id, lead_id, thread_id, channel, direction, author, text_content, raw_payload,
                                delivery_status, created_at)
       SELECT 1, 1 + i %% %(threads)s, 1 + i %% %(threads)s, 'simulator',
              CASE WHEN i %% 2 = 0 THEN 'inbound' ELSE 'outbound' END,
              CASE WHEN i %% 2 = 0 THEN 'customer' ELSE 'ai' END, 'message number ' || i,
              jsonb_build_object('from', '+49' || i, 'filler', repeat('x', 400)),
              CASE WHEN i %% 2 = 1 THEN 'sent' WHEN i %% 1000 = 0 THEN 'inbound_error'
                   ELSE 'inbound_ai_replied' END,
              now() - make_interval(secs => (%(messages)s - i) / 10.0)
         FROM generate_series(1, %(messages)s) i""",
    """INSERT INTO et_outbound_queue (message_id, tenant_id, thread_id, channel, author, status, outcome, error_class,
                                      created_at, finished_at)
       SELECT id, 1, thread_id, channel, 'ai',
              CASE WHEN id %% 50 = 1 THEN 'failed' ELSE 'sent' END,
              CASE WHEN id %% 5000 = 1 THEN 'unknown' WHEN id %% 50 = 1 THEN 'rejected' ELSE 'confirmed' END,
              CASE WHEN id %% 50 = 1 THEN 'permanent' END, created_at, created_at
         FROM et_messages WHERE direction = 'outbound'""",
    """INSERT INTO et_turns (tenant_id, thread_id, message_id, outcome, reason, provider, attempts, finished_at)
       SELECT 1, thread_id, id, CASE WHEN id %% 100 = 0 THEN 'error' ELSE 'replied' END,
              CASE WHEN id %% 100 = 0 THEN 'llm.transient' END, 'uniapi',
              jsonb_build_array(jsonb_build_object(
                  'provider', 'uniapi', 'model', 'm', 'ok', id %% 20 <> 0, 'skipped', false, 'latency_ms', 900,
                  'failure', CASE WHEN id %% 20 = 0 THEN 'transient' END)),
              created_at
         FROM et_messages WHERE direction = 'inbound'""",
    """INSERT INTO et_audit_log (at, actor, origin, act, subject, before, after)
       SELECT now() - make_interval(secs => %(messages)s - i), 'anna', 'desk', 'reply', 'thread:' || i, NULL,
              '{"message_id": 1}'
         FROM generate_series(1, %(messages)s) i""",
    """INSERT INTO et_notes (thread_id, author, text_content)
       SELECT 1 + i %% %(threads)s, 'anna', 'note ' || i FROM generate_series(1, %(threads)s) i""",
)


def plant_crowd(
    connection: psycopg.Connection[Any],
    *,
    threads: int = 20_000,
    messages: int = 200_000,
    human_every: int = 100,
) -> None:
    """Fill an empty migrated database with this many conversations, messages, turns, sends and acts."""
    values = {"threads": threads, "messages": messages, "human_every": human_every}
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        for statement in _STATEMENTS:
            connection.execute(statement.encode(), values)
    connection.execute("VACUUM ANALYZE")
