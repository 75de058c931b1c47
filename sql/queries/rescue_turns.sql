-- Turns whose lease ran out: their messages are received again, or an error after too many attempts.
-- $1 attempts at most
-- What an operator asked for stays asked for, however old it is.
WITH stale AS MATERIALIZED (
    SELECT id, holder FROM et_threads
     WHERE holder IS NOT NULL AND lease_until < now()
     ORDER BY lease_until LIMIT 200
       FOR UPDATE SKIP LOCKED
),
freed AS (
    UPDATE et_messages m
       SET delivery_status = CASE WHEN m.attempts >= $1 THEN 'inbound_error' ELSE 'received' END,
           reason = CASE WHEN m.attempts >= $1 THEN 'attempts_exhausted'
                         WHEN m.reason IN ('replay', 'handed_back') THEN m.reason
                         ELSE 'lease_expired' END,
           last_error = format('engine %s stopped answering during attempt %s', s.holder, m.attempts),
           turn_head_id = NULL,
           lease_until = NULL,
           updated_at = now()
      FROM stale s
     WHERE m.thread_id = s.id AND m.direction = 'inbound' AND m.delivery_status = 'inbound_processing'
 RETURNING m.id, m.thread_id, m.delivery_status, m.attempts
),
suspects AS MATERIALIZED (
    -- What has taken engines down twice comes back one after the other, so that a poison harms only itself.
    SELECT thread_id, row_number() OVER (ORDER BY random()) AS place
      FROM (SELECT thread_id FROM freed GROUP BY thread_id HAVING max(attempts) >= 2) s
),
released AS (
    UPDATE et_threads t
       SET holder = NULL, lease_until = NULL, reserved_usd = NULL, claim_token = t.claim_token + 1,
           due_at = now() + make_interval(
               secs => 2.0 * coalesce((SELECT place FROM suspects WHERE thread_id = t.id), 0)),
           burst_started_at = now()
      FROM stale s WHERE t.id = s.id
)
SELECT id, delivery_status FROM freed
