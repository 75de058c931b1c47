"""A long past of ordinary rows, by SQL alone: answered messages with their turns, sends and usage.

Message ids go up with time; each thread's messages are spread over all of it. Two seconds lie between a
customer's message and the next.
"""

from __future__ import annotations

import json
from typing import Any

import psycopg

INBOUND = "Hello, I would like to know whether appointment %s tomorrow is still possible?"
"""Takes a number: the loop guard knows a machine by its saying the same again."""
REPLY = "Yes, of course. We have you down for 10:30 tomorrow; just reply here if you need another time."
RAW = {"provider_id": "wamid.0123456789", "from": "+420123456789"}
SECONDS_APART = 2.0
CHUNK = 200_000
_USAGE = {"prompt_tokens": 123, "completion_tokens": 45, "total_tokens": 168, "raw_usage": {}}
_TRACE = {
    "ai_trace": {
        "schema_version": "1.0",
        "task": "conversation",
        "provider": "uniapi",
        "model": "gemini-3-flash-preview",
        "usage": {**_USAGE, "estimated_cost_usd": 0.000123},
        "context_prompt": None,
        "recorded_at": "2026-02-19T14:00:00.000000",
    }
}
_ATTEMPTS = [
    {
        "provider": "uniapi",
        "model": "gemini-3-flash-preview",
        "started_at": "2026-02-19T14:00:00Z",
        "latency_ms": 1180,
        "ok": True,
        "failure": None,
        "http_status": 200,
        "error": None,
        "finish_reason": "stop",
        "request_id": "req-0123456789",
        "usage": _USAGE,
        "skipped": False,
    }
]
RULES = [
    "no_agent",
    "opt_out",
    "human_requested",
    "stale",
    "window",
    "loop_guard",
    "empty",
    "canary",
    "blocked_phrase",
    "links",
    "length",
]
"""Which all passed."""
_CONTEXT = {"history_available": 14, "history_kept": 12, "history_cut": 2, "history_tokens": 340}


def plant(connection: psycopg.Connection[Any], messages: int, *, threads: int, tell: Any = None) -> None:
    """Fill a migrated database without messages. Needs a superuser. `tell` hears of progress, in rows."""
    rows = {
        "threads": threads,
        "inbound": INBOUND,
        "reply": REPLY,
        "raw": json.dumps(RAW),
        "trace": json.dumps(_TRACE),
        "attempts": json.dumps(_ATTEMPTS),
        "verdicts": json.dumps(RULES),
        "context": json.dumps(_CONTEXT),
        "apart": SECONDS_APART,
        "pairs": messages // 2,
    }
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(_THREADS, rows)
    for first in range(0, messages // 2, CHUNK // 2):
        last = min(first + CHUNK // 2, messages // 2)
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")
            for statement in (_MESSAGES, _SENDS, _TURNS):
                connection.execute(statement, rows | {"first": first, "last": last})
        if tell:
            tell(last * 2)
    with connection.transaction():
        connection.execute(_USED)
    connection.execute("VACUUM ANALYZE")


_THREADS = """
WITH made AS (
    INSERT INTO et_leads (tenant_id, name, created_at)
    SELECT 1, 'Customer ' || n, now() - interval '300 days' FROM generate_series(1, %(threads)s) n
 RETURNING id
), addresses AS (
    INSERT INTO et_lead_addresses (tenant_id, channel, address, lead_id, created_at)
    SELECT 1, 'whatsapp', '+42' || lpad(id::text, 10, '0'), id, now() - interval '300 days' FROM made
)
INSERT INTO et_threads (
       tenant_id, lead_id, channel, address, claim_token, last_inbound_at, last_message_at, created_at)
SELECT 1, id, 'whatsapp', '+42' || lpad(id::text, 10, '0'), %(pairs)s / %(threads)s + 1,
       now() - make_interval(secs => %(apart)s * (1 + %(threads)s - id)),
       now() - make_interval(secs => %(apart)s * (1 + %(threads)s - id) - 1), now() - interval '300 days'
  FROM made ORDER BY id
"""
# Ids are told by place: pair k is messages 2k+1 (the customer's) and 2k+2 (the reply).
_PAIRS = """
SELECT k, k %% %(threads)s + 1 AS thread, k / %(threads)s + 1 AS token,
       now() - make_interval(secs => %(apart)s * (%(pairs)s - k)) AS came,
       CASE WHEN k %% 100 = 1 THEN 'takeover' WHEN k %% 250 = 2 THEN 'error' ELSE 'replied' END AS outcome
  FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) k
"""
_MESSAGES = f"""
INSERT INTO et_messages (
       id, tenant_id, lead_id, thread_id, channel, direction, author, text_content, raw_payload,
       delivery_status, reason, llm_provider, llm_model, llm_prompt_tokens, llm_completion_tokens, llm_total_tokens,
       llm_estimated_cost_usd, provider_message_id, in_reply_to, attempts, claim_token, claimed_by, claimed_at,
       replied_at, send_started_at, sent_at, delivered_at, created_at, updated_at)
SELECT nextval(pg_get_serial_sequence('et_messages', 'id')), 1, thread, thread, 'whatsapp',
       CASE WHEN reply THEN 'outbound' ELSE 'inbound' END,
       CASE WHEN NOT reply THEN 'customer' WHEN ai THEN 'ai' ELSE 'human' END,
       CASE WHEN reply THEN %(reply)s ELSE format(%(inbound)s, k) END,
       CASE WHEN NOT reply THEN %(raw)s::jsonb WHEN ai THEN %(trace)s::jsonb END,
       CASE WHEN reply THEN CASE WHEN k %% 200 = 3 THEN 'failed' ELSE 'sent' END
            WHEN outcome = 'takeover' THEN 'inbound_human_takeover'
            WHEN outcome = 'error' THEN 'inbound_error' ELSE 'inbound_ai_replied' END,
       CASE WHEN NOT reply AND outcome = 'takeover' THEN 'policy.human_requested'
            WHEN NOT reply AND outcome = 'error' THEN 'llm.transient' END,
       CASE WHEN reply AND ai THEN 'uniapi' END, CASE WHEN reply AND ai THEN 'gemini-3-flash-preview' END,
       CASE WHEN reply AND ai THEN 123 END, CASE WHEN reply AND ai THEN 45 END,
       CASE WHEN reply AND ai THEN 168 END, CASE WHEN reply AND ai THEN 0.000123 END,
       CASE WHEN reply THEN 'wamid.out.' ELSE 'wamid.in.' END || k,
       CASE WHEN reply AND ai THEN 2 * k + 1 END, CASE WHEN reply THEN 0 ELSE 1 END,
       CASE WHEN reply THEN 0 ELSE token END, CASE WHEN NOT reply THEN 'engine' END,
       CASE WHEN NOT reply THEN came END, CASE WHEN NOT reply AND ai THEN came + interval '1.2 s' END,
       CASE WHEN reply THEN came + interval '1.3 s' END, CASE WHEN reply THEN came + interval '1.5 s' END,
       CASE WHEN reply THEN came + interval '3 s' END,
       CASE WHEN reply THEN came + interval '1.2 s' ELSE came END, came + interval '2 s'
  FROM (SELECT p.*, r.reply, p.outcome = 'replied' AS ai
          FROM ({_PAIRS}) p CROSS JOIN (VALUES (false), (true)) r(reply)) m
 ORDER BY k, reply
"""
_SENDS = """
INSERT INTO et_outbound_queue (
       message_id, tenant_id, thread_id, channel, author, status, outcome, error_class, attempts, claim_token,
       claimed_by, next_attempt_at, provider_message_id, send_started_at, finished_at, created_at, updated_at)
SELECT id, tenant_id, thread_id, channel, author, delivery_status,
       CASE delivery_status WHEN 'sent' THEN 'confirmed' ELSE 'rejected' END,
       CASE delivery_status WHEN 'failed' THEN 'permanent' END, 1, 1, 'engine', created_at, provider_message_id,
       send_started_at, sent_at, created_at, updated_at
  FROM et_messages
 WHERE id BETWEEN 2 * %(first)s + 1 AND 2 * %(last)s AND direction = 'outbound'
 ORDER BY id
"""
_TURNS = f"""
INSERT INTO et_turns (
       tenant_id, thread_id, message_id, reply_message_id, outcome, reason, agent_id, agent_version, provider, model,
       attempts, verdicts, context, prompt_tokens, completion_tokens, total_tokens, cost_usd, burst, claim_token,
       engine, started_at, context_at, answered_at, finished_at)
SELECT 1, thread, 2 * k + 1, CASE outcome WHEN 'replied' THEN 2 * k + 2 END, outcome,
       CASE outcome WHEN 'takeover' THEN 'policy.human_requested' WHEN 'error' THEN 'llm.transient' END,
       (SELECT min(id) FROM et_agents), 1, 'uniapi', 'gemini-3-flash-preview', %(attempts)s::jsonb,
       %(verdicts)s::jsonb, %(context)s::jsonb, 123, 45, 168, 0.000123, 1, token, 'engine', came,
       came + interval '0.01 s', came + interval '1.19 s', came + interval '1.2 s'
  FROM ({_PAIRS}) p
 ORDER BY k
"""
_USED = """
INSERT INTO et_usage_hourly (
       hour, tenant_id, agent_id, task, provider, model, turns, prompt_tokens, completion_tokens, cost_usd)
SELECT date_trunc('hour', finished_at), tenant_id, agent_id, task, provider, model, count(*), sum(prompt_tokens),
       sum(completion_tokens), sum(cost_usd)
  FROM et_turns GROUP BY 1, 2, 3, 4, 5, 6
"""
