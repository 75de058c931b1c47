"""The two statements behind system health. Both are flat in history size.

Queues are counted through the partial indexes of work in progress, up to `COUNT_LIMIT` rows each. The
ORDER BY of every count names its index's own order, so that no statistics can talk the planner into
reading history instead.
"""

from __future__ import annotations

from engine.database.schema_checks import CATALOGUE

COUNT_LIMIT = 10_000
"""Rows counted of one queue; a larger one is told as "10000+"."""
PAUSED_LIMIT = 9
"""The same of paused conversations."""
REMEMBER_SECONDS = 600
"""A silent engine that never said goodbye is shown this long."""

#: The server, and the schema as it is; touches no table of ours.
DATABASE = f"""
SELECT c.catalogue, clock_timestamp() AS now, current_setting('server_version') AS version,
       pg_database_size(current_database()) AS size_bytes,
       (SELECT sum(numbackends) FROM pg_stat_database)::integer AS connections,
       current_setting('max_connections')::integer AS connections_max
  FROM ({CATALOGUE}) c
"""  # noqa: S608 - built from constants

_SAMPLE = f"LIMIT {COUNT_LIMIT + 1}"

# Where the AI is paused, messages wait on purpose: they are `held`, and told apart from those that should not.
_HOLDS = """owner = 'ai' AND (paused_at IS NOT NULL OR channel = ANY (p.channels) OR p.everywhere)"""

_RECEIVED = f"""
SELECT 'inbound' AS queue, 'received' AS status, NULL AS outcome, count(*) AS count,
       least(min(created_at) FILTER (WHERE NOT held), (
           SELECT burst_started_at FROM et_threads, paused p
            WHERE due_at IS NOT NULL AND holder IS NULL AND NOT (p.holding AND {_HOLDS})
            ORDER BY due_at LIMIT 1)) AS since,
       count(*) FILTER (WHERE held) AS held, min(created_at) FILTER (WHERE held) AS held_since
  FROM (SELECT r.created_at, p.holding AND coalesce((
                   SELECT {_HOLDS} FROM et_threads WHERE id = r.thread_id), false) AS held
          FROM paused p, (
               SELECT thread_id, created_at FROM et_messages
                WHERE direction = 'inbound' AND delivery_status = 'received'
                ORDER BY thread_id, id {_SAMPLE}) r) s
HAVING count(*) > 0
"""  # noqa: S608

# Heads of turns through their unique index; a burst's other messages follow their head closely.
_INBOUND_PROCESSING = f"""
SELECT 'inbound', 'inbound_processing', NULL, count(*), min(m.claimed_at)
  FROM (SELECT id, thread_id FROM et_messages
         WHERE direction = 'inbound' AND delivery_status = 'inbound_processing' AND turn_head_id IS NULL
         ORDER BY thread_id {_SAMPLE}) h
 CROSS JOIN LATERAL (
       SELECT claimed_at, delivery_status FROM et_messages
        WHERE thread_id = h.thread_id AND direction = 'inbound'
          AND delivery_status IN ('received', 'inbound_processing') AND id >= h.id
        ORDER BY id LIMIT 200) m
 WHERE m.delivery_status = 'inbound_processing'
HAVING count(*) > 0
"""  # noqa: S608

# Errors and failed sends pile up for years: they are counted in the index alone.
_INBOUND_ERROR = f"""
SELECT 'inbound', 'inbound_error', NULL, count(*), (
           SELECT updated_at FROM et_messages
            WHERE direction = 'inbound' AND delivery_status = 'inbound_error' ORDER BY id LIMIT 1)
  FROM (SELECT id FROM et_messages
         WHERE direction = 'inbound' AND delivery_status = 'inbound_error'
         ORDER BY id DESC {_SAMPLE}) s
HAVING count(*) > 0
"""  # noqa: S608

# Conversations of a person whose last word is the customer's, and which are not put off.
_TAKEOVER = f"""
SELECT 'inbound', 'inbound_human_takeover', NULL, count(*), min(last_inbound_at)
  FROM (SELECT last_inbound_at, last_message_at, snoozed_until FROM et_threads
         WHERE owner = 'human' ORDER BY owner_since {_SAMPLE}) s
 WHERE last_inbound_at >= coalesce(last_message_at, last_inbound_at)
   AND (snoozed_until IS NULL OR snoozed_until <= now())
HAVING count(*) > 0
"""  # noqa: S608


def _sends(status: str, order: str, since: str) -> str:
    return f"""
SELECT 'outbound', '{status}', NULL, count(*), min(since)
  FROM (SELECT {since} AS since FROM et_outbound_queue
         WHERE status = '{status}' ORDER BY {order} {_SAMPLE}) s
HAVING count(*) > 0
"""  # noqa: S608


_FAILED = f"""
SELECT 'outbound', 'failed', kind, count(*), min(since)
  FROM (SELECT CASE WHEN outcome IN ('unknown', 'cancelled') THEN outcome END AS kind,
               finished_at AS since
          FROM et_outbound_queue WHERE status = 'failed' ORDER BY id DESC {_SAMPLE}) s
 GROUP BY kind
"""  # noqa: S608

_QUEUES = f"({_RECEIVED})" + "".join(  # noqa: S608
    f" UNION ALL (SELECT q.*, 0, NULL::timestamptz FROM ({query}) q)"  # noqa: S608
    for query in (
        _INBOUND_PROCESSING,
        _INBOUND_ERROR,
        _TAKEOVER,
        _sends("queued", "next_attempt_at, id", "created_at"),
        _sends("processing", "lease_until", "updated_at"),
        _sends("retry_scheduled", "next_attempt_at", "created_at"),
        _FAILED,
    )
)


def _age(since: str) -> str:
    """Seconds since then; NULL where it is NULL."""
    return f"CASE WHEN {since} IS NOT NULL THEN greatest(extract(epoch FROM clock_timestamp() - {since}), 0)::float END"


#: Engines, switches and queues, as one JSON document.
STATE = f"""
WITH switches AS MATERIALIZED (
    SELECT coalesce((SELECT value = 'true' FROM et_platform_settings WHERE key = 'ai_paused'), false) AS everywhere,
           ARRAY(SELECT jsonb_array_elements_text(value) FROM et_platform_settings
                  WHERE key = 'paused_channels' AND jsonb_typeof(value) = 'array') AS channels
), counted AS MATERIALIZED (
    SELECT count(*) AS threads
      FROM (SELECT FROM et_threads WHERE paused_at IS NOT NULL ORDER BY paused_at LIMIT {PAUSED_LIMIT + 1}) s
), paused AS MATERIALIZED (
    SELECT everywhere, channels, threads, everywhere OR channels <> '{{}}' OR threads > 0 AS holding
      FROM switches, counted
)
SELECT json_build_object(
    'engines', (
        SELECT coalesce(json_agg(e ORDER BY e.age), '[]') FROM (
            SELECT name, version, host, pid, http_address, simulated, started_at, snapshot,
                   greatest(extract(epoch FROM clock_timestamp() - heartbeat_at), 0)::float AS age
              FROM et_engines
             WHERE stopped_at IS NULL
               AND heartbeat_at > clock_timestamp() - interval '{REMEMBER_SECONDS} seconds'
             ORDER BY heartbeat_at DESC LIMIT 100) e),
    'incidents', (
        SELECT coalesce(json_agg(i), '[]') FROM (
            SELECT id, rule, subject, what FROM et_incidents WHERE resolved_at IS NULL ORDER BY id LIMIT 100) i),
    'ai_paused', (SELECT value FROM et_platform_settings WHERE key = 'ai_paused'),
    'paused_channels', (SELECT value FROM et_platform_settings WHERE key = 'paused_channels'),
    'paused_threads', (SELECT threads FROM paused),
    'paused_tenants', (SELECT count(*) FROM et_tenants WHERE paused),
    'queues', (
        SELECT coalesce(json_agg(json_build_object(
                   'queue', queue, 'status', status, 'outcome', outcome, 'count', count,
                   'age', {_age("since")}, 'held', held, 'held_age', {_age("held_since")})), '[]')
          FROM ({_QUEUES}) q)
)::text AS state
"""  # noqa: S608
