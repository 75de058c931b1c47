-- The times of a message's whole trip, as one JSON document; times are ISO 8601, in UTC.
-- $1 message: the inbound one, or one of ours
WITH asked AS (
    SELECT m.id, m.direction, coalesce(m.in_reply_to, m.turn_head_id, m.id) AS head_id FROM et_messages m WHERE m.id = $1
),
inbound AS (
    SELECT m.* FROM asked a
      JOIN et_messages m ON m.id = CASE WHEN a.direction = 'inbound' THEN a.id ELSE a.head_id END
     WHERE m.direction = 'inbound'
),
reply AS (
    SELECT r.* FROM asked a
      JOIN et_messages r ON r.id = a.id
     WHERE a.direction = 'outbound'
    UNION ALL
    (SELECT r.* FROM asked a
       JOIN et_messages r ON r.in_reply_to = a.head_id AND r.direction = 'outbound' AND r.author = 'ai'
      WHERE a.direction = 'inbound' ORDER BY r.id DESC LIMIT 1)
),
spoken AS (
    SELECT r.* FROM inbound i
      JOIN et_messages r ON r.thread_id = i.thread_id AND r.id > i.id AND r.direction = 'outbound'
     WHERE i.delivery_status = 'inbound_human_takeover'
       AND coalesce(r.author, CASE WHEN r.llm_provider IS NULL THEN 'human' ELSE 'ai' END) = 'human'
     ORDER BY r.id LIMIT 1
),
answer AS (
    SELECT * FROM reply UNION ALL SELECT * FROM spoken WHERE NOT EXISTS (SELECT FROM reply)
)
SELECT json_build_object(
    'now', now(),
    'inbound', (
        SELECT json_build_object(
                   'id', i.id, 'status', i.delivery_status, 'reason', i.reason,
                   'created_at', i.created_at::timestamptz, 'claimed_at', i.claimed_at::timestamptz,
                   'updated_at', i.updated_at::timestamptz, 'engine', i.claimed_by)
          FROM inbound i),
    'turns', (
        SELECT coalesce(json_agg(json_build_object(
                   'id', t.id, 'outcome', t.outcome, 'reason', t.reason, 'error', t.error,
                   'attempts', t.attempts, 'verdicts', t.verdicts, 'started_at', t.started_at,
                   'context_at', t.context_at, 'answered_at', t.answered_at, 'finished_at', t.finished_at)
                   ORDER BY t.id), '[]')
          FROM inbound i
          JOIN et_turns t ON t.thread_id = i.thread_id AND t.kind <> 'dry_run'
           AND (t.message_id = coalesce(i.turn_head_id, i.id) OR (i.claim_token > 0 AND t.claim_token = i.claim_token))),
    'answer', (
        SELECT json_build_object(
                   'id', r.id, 'author', coalesce(r.author, 'human'), 'status', coalesce(q.status, r.delivery_status),
                   'outcome', q.outcome, 'error', coalesce(q.last_error, r.last_error), 'attempts', q.attempts,
                   'queued', q.id IS NOT NULL, 'created_at', r.created_at::timestamptz,
                   'send_started_at', coalesce(q.send_started_at, r.send_started_at),
                   'finished_at', q.finished_at, 'sent_at', r.sent_at,
                   'delivered_at', r.delivered_at, 'read_at', r.read_at)
          FROM answer r LEFT JOIN et_outbound_queue q ON q.message_id = r.id)
)::text AS times
  FROM asked
