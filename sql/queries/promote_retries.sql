-- Sends whose wait is over are queued again.
WITH due AS MATERIALIZED (
    SELECT id FROM et_outbound_queue
     WHERE status = 'retry_scheduled' AND next_attempt_at <= now()
     ORDER BY next_attempt_at LIMIT 500
       FOR UPDATE SKIP LOCKED
),
queued AS (
    UPDATE et_outbound_queue q SET status = 'queued', updated_at = now() FROM due WHERE q.id = due.id
 RETURNING q.id, q.message_id
),
mirrored AS (
    UPDATE et_messages m SET delivery_status = 'queued', updated_at = now()
      FROM queued WHERE m.id = queued.message_id
)
SELECT id FROM queued
