-- Messages are received again, to be answered by the AI with fresh attempts. The caller has locked their threads.
-- $1 messages
-- Each comes back with what it was before, and what stands in the way, if something does.
WITH wanted AS MATERIALIZED (
    SELECT a.id, m.thread_id, m.delivery_status, m.reason, m.last_error,
           CASE WHEN m.id IS NULL THEN 'there is no such message'
                WHEN m.direction <> 'inbound' THEN 'it is not an inbound message'
                WHEN m.delivery_status = 'inbound_ai_replied' THEN 'the AI has answered it'
                WHEN m.delivery_status IN ('received', 'inbound_processing') THEN 'it is in work already'
                WHEN m.delivery_status NOT IN ('inbound_error', 'inbound_human_takeover')
                THEN format('its status %s is not known', m.delivery_status)
                WHEN t.owner = 'human'
                THEN format('%s answers thread %s; release it first', coalesce(t.operator, 'a person'), t.id)
                WHEN EXISTS (SELECT FROM et_messages r
                              WHERE r.in_reply_to = m.id AND r.direction = 'outbound' AND r.author = 'ai')
                THEN 'the AI has answered it'
           END AS obstacle
      FROM unnest($1::bigint[]) AS a(id)
      LEFT JOIN et_messages m ON m.id = a.id
      LEFT JOIN et_threads t ON t.id = m.thread_id
),
moved AS (
    UPDATE et_messages m
       SET delivery_status = 'received', reason = 'replay', last_error = NULL, attempts = 0, turn_head_id = NULL,
           updated_at = now()
      FROM wanted w
     WHERE m.id = w.id AND w.obstacle IS NULL
       AND m.delivery_status IN ('inbound_error', 'inbound_human_takeover')
 RETURNING m.id, m.thread_id
),
due AS (
    UPDATE et_threads SET due_at = now(), burst_started_at = coalesce(burst_started_at, now())
     WHERE id IN (SELECT thread_id FROM moved)
),
told AS MATERIALIZED (
    SELECT pg_notify('et_inbound', min(id)::text) FROM moved HAVING count(*) > 0
)
SELECT w.id, w.delivery_status, w.reason, w.last_error,
       CASE WHEN m.id IS NULL THEN coalesce(w.obstacle, 'it was changed by somebody else just now') END AS obstacle
  FROM wanted w
  LEFT JOIN moved m ON m.id = w.id
  LEFT JOIN told ON true
 ORDER BY w.id
