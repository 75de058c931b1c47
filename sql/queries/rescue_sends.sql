-- Sends whose lease ran out: queued again if they never started, else their outcome is unknown.
WITH stale AS MATERIALIZED (
    SELECT id, send_started_at IS NOT NULL AS started FROM et_outbound_queue
     WHERE status = 'processing' AND lease_until < now()
     ORDER BY lease_until LIMIT 200
       FOR UPDATE SKIP LOCKED
),
freed AS (
    UPDATE et_outbound_queue q
       SET status = CASE WHEN s.started THEN 'failed' ELSE 'queued' END,
           outcome = CASE WHEN s.started THEN 'unknown' END,
           error_class = CASE WHEN s.started THEN 'lease_expired' END,
           last_error = CASE WHEN s.started THEN
               format('engine %s stopped answering while it was sending', q.claimed_by) END,
           lease_until = NULL,
           finished_at = CASE WHEN s.started THEN now() END,
           updated_at = now()
      FROM stale s WHERE q.id = s.id
 RETURNING q.id, q.message_id, q.status, q.last_error, q.send_started_at
),
mirrored AS (
    UPDATE et_messages m
       SET delivery_status = f.status,
           reason = CASE WHEN f.status = 'failed' THEN 'unknown.lease_expired' END,
           last_error = f.last_error,
           send_started_at = f.send_started_at,
           updated_at = now()
      FROM freed f WHERE m.id = f.message_id
)
SELECT id, status FROM freed
