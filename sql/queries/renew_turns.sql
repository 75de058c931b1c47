-- Heartbeat: renew the leases of running turns; a thread that is missing from the answer was lost.
-- $1 engine  $2 threads  $3 tokens  $4 lease, seconds
WITH mine AS (
    SELECT t.id, t.claim_token
      FROM unnest($2::bigint[], $3::bigint[]) AS d(thread_id, token)
      JOIN et_threads t ON t.id = d.thread_id AND t.claim_token = d.token AND t.holder = $1
     ORDER BY t.id
       FOR UPDATE OF t
),
messages AS (
    UPDATE et_messages m SET lease_until = now() + make_interval(secs => $4)
      FROM mine
     WHERE m.thread_id = mine.id AND m.claim_token = mine.claim_token AND m.direction = 'inbound'
       AND m.delivery_status = 'inbound_processing'
)
UPDATE et_threads t SET lease_until = now() + make_interval(secs => $4) FROM mine WHERE t.id = mine.id
RETURNING t.id
