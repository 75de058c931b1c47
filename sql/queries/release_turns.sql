-- Clean stop: give turns back untried, as if they had not been claimed. Their attempts stay counted.
-- What an operator asked for stays asked for, however old it is.
-- $1 engine  $2 threads  $3 tokens
WITH mine AS MATERIALIZED (
    SELECT t.id, t.claim_token
      FROM unnest($2::bigint[], $3::bigint[]) AS d(thread_id, token)
      JOIN et_threads t ON t.id = d.thread_id AND t.claim_token = d.token AND t.holder = $1
     ORDER BY t.id
       FOR UPDATE OF t
),
freed AS (
    UPDATE et_messages m
       SET delivery_status = 'received', turn_head_id = NULL, lease_until = NULL, updated_at = now(),
           reason = CASE WHEN m.reason IN ('replay', 'handed_back') THEN m.reason ELSE 'released' END
      FROM mine
     WHERE m.thread_id = mine.id AND m.claim_token = mine.claim_token AND m.direction = 'inbound'
       AND m.delivery_status = 'inbound_processing'
)
UPDATE et_threads t
   SET holder = NULL, lease_until = NULL, reserved_usd = NULL, due_at = now(), burst_started_at = now()
  FROM mine WHERE t.id = mine.id
RETURNING t.id
