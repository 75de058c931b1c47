-- A person answers this thread from now on. The caller has locked the thread.
-- $1 thread  $2 operator  $3 minutes until it goes back to the AI by itself, or NULL  $4 reason of parked messages
-- The running turn loses its claim, open messages are parked, unsent sends of the AI are cancelled. Only a send
-- whose marker is set can still leave; those are counted.
WITH parked AS (
    UPDATE et_messages
       SET delivery_status = 'inbound_human_takeover', reason = $4, turn_head_id = NULL, lease_until = NULL,
           updated_at = now()
     WHERE thread_id = $1 AND direction = 'inbound' AND delivery_status IN ('received', 'inbound_processing')
 RETURNING id
),
open_sends AS MATERIALIZED (
    SELECT id, status = 'processing' AND send_started_at IS NOT NULL AS leaving
      FROM et_outbound_queue
     WHERE thread_id = $1 AND author = 'ai' AND status IN ('queued', 'processing', 'retry_scheduled')
     ORDER BY id
       FOR UPDATE
),
cancelled AS (
    UPDATE et_outbound_queue q
       SET status = 'failed', outcome = 'cancelled', last_error = 'a person took the conversation over',
           lease_until = NULL, finished_at = now(), updated_at = now()
      FROM open_sends o WHERE q.id = o.id AND NOT o.leaving
 RETURNING q.id, q.message_id
),
mirrored AS (
    UPDATE et_messages m
       SET delivery_status = 'failed', reason = 'cancelled.takeover',
           last_error = 'a person took the conversation over', updated_at = now()
      FROM cancelled c WHERE m.id = c.message_id
),
owned AS (
    UPDATE et_threads
       SET epoch = epoch + (owner = 'ai')::integer,
           owner_since = CASE owner WHEN 'ai' THEN now() ELSE coalesce(owner_since, now()) END,
           owner = 'human', operator = $2,
           snoozed_until = NULL, snoozed_by = NULL,
           auto_release_at = now() + make_interval(secs => $3::float * 60),
           holder = NULL, lease_until = NULL, reserved_usd = NULL, claim_token = claim_token + 1,
           due_at = NULL, burst_started_at = NULL
     WHERE id = $1
 RETURNING epoch, auto_release_at
)
SELECT o.epoch, o.auto_release_at,
       ARRAY(SELECT id FROM parked ORDER BY id) AS parked,
       ARRAY(SELECT id FROM cancelled ORDER BY id) AS cancelled,
       ARRAY(SELECT id FROM open_sends WHERE leaving ORDER BY id) AS leaving
  FROM owned o
