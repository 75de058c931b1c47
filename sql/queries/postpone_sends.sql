-- Sends that were claimed but may not leave yet are queued again for later; it does not count as a try.
-- $1 engine  $2 sends  $3 tokens  $4 seconds to wait
WITH freed AS (
    UPDATE et_outbound_queue q
       SET status = 'queued', lease_until = NULL, attempts = q.attempts - 1, updated_at = now(),
           next_attempt_at = now() + make_interval(secs => d.seconds)
      FROM unnest($2::bigint[], $3::bigint[], $4::float[]) AS d(queue_id, token, seconds)
     WHERE q.id = d.queue_id AND q.claim_token = d.token AND q.claimed_by = $1 AND q.status = 'processing'
       AND q.send_started_at IS NULL
 RETURNING q.id, q.message_id
),
mirrored AS (
    UPDATE et_messages m SET delivery_status = 'queued', updated_at = now()
      FROM freed WHERE m.id = freed.message_id
)
SELECT id FROM freed
