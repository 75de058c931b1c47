"""A long past of plain rows, by SQL alone: for plans and timings, not for reading."""

from __future__ import annotations

from typing import Any

import psycopg


def fill_history(connection: psycopg.Connection[Any], messages: int, threads: int = 40_000) -> None:
    """Fill a migrated, empty database with this many messages. Needs a superuser."""
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(
            """INSERT INTO et_threads (tenant_id, channel, address, last_inbound_at, last_message_at, created_at)
               SELECT 1, 'telegram', 'a' || n, now() - n * interval '1 minute', now() - n * interval '1 minute',
                      now() - interval '300 days' FROM generate_series(1, %s) n""",
            [threads],
        )
        connection.execute(
            """INSERT INTO et_messages (tenant_id, thread_id, channel, direction, author, text_content,
                       delivery_status, created_at, updated_at, llm_provider, llm_model, llm_total_tokens,
                       llm_estimated_cost_usd, in_reply_to)
               SELECT 1, 1 + n %% %s, 'telegram', CASE n %% 2 WHEN 0 THEN 'inbound' ELSE 'outbound' END,
                      CASE n %% 2 WHEN 0 THEN 'customer' ELSE 'ai' END, 'message number ' || n,
                      CASE n %% 2 WHEN 0 THEN CASE n %% 5000 WHEN 0 THEN 'inbound_error' ELSE 'inbound_ai_replied' END
                                  ELSE 'sent' END,
                      now() - (%s - n) * interval '20 seconds', now(),
                      CASE n %% 2 WHEN 1 THEN 'uniapi' END, CASE n %% 2 WHEN 1 THEN 'gemini-3-flash-preview' END,
                      CASE n %% 2 WHEN 1 THEN 400 END, CASE n %% 2 WHEN 1 THEN 0.0001 END, NULL
                 FROM generate_series(1, %s) n""",
            [threads, messages, messages],
        )
        connection.execute(
            """INSERT INTO et_outbound_queue (message_id, tenant_id, thread_id, channel, author, status, outcome,
                       attempts, finished_at, created_at)
               SELECT id, tenant_id, thread_id, channel, 'ai', CASE id %% 997 WHEN 0 THEN 'failed' ELSE 'sent' END,
                      CASE id %% 997 WHEN 0 THEN 'rejected' ELSE 'confirmed' END, 1, created_at, created_at
                 FROM et_messages m WHERE direction = 'outbound'
                  AND NOT EXISTS (SELECT FROM et_outbound_queue q WHERE q.message_id = m.id) ORDER BY id""",
            [],
        )
        connection.execute(
            """INSERT INTO et_turns (tenant_id, thread_id, message_id, kind, outcome, started_at, finished_at)
               SELECT tenant_id, thread_id, id, 'live',
                      CASE delivery_status WHEN 'inbound_error' THEN 'error' ELSE 'replied' END, created_at, created_at
                 FROM et_messages WHERE direction = 'inbound' ORDER BY id"""
        )
    connection.execute("ANALYZE")
