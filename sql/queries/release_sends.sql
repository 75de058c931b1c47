-- Clean stop: sends that were claimed but not started are queued again.
-- $1 engine  $2 sends  $3 tokens
WITH freed AS (
    UPDATE et_outbound_queue q
       SET status = 'queued', lease_until = NULL, updated_at = now()
      FROM unnest($2::bigint[], $3::bigint[]) AS d(queue_id, token)
     WHERE q.id = d.queue_id AND q.claim_token = d.token AND q.claimed_by = $1 AND q.status = 'processing'
       AND q.send_started_at IS NULL
 RETURNING q.id, q.message_id
),
mirrored AS (
    UPDATE et_messages m SET delivery_status = 'queued', updated_at = now()
      FROM freed WHERE m.id = freed.message_id
)
SELECT id FROM freed
