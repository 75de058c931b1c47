-- T4: mark sends as started, or cancel what the AI may not say any more. Nothing is sent that is not marked.
-- $1 engine  $2 sends  $3 tokens  $4 threads
-- Marking again is harmless: an engine whose connection broke does not know whether it had marked.
-- The thread is locked first, as a takeover does: whoever commits first decides.
WITH d AS MATERIALIZED (
    SELECT s.queue_id, s.token, t.owner, t.epoch
      FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS s(queue_id, token, thread_id)
      LEFT JOIN LATERAL (
           SELECT owner, epoch FROM et_threads WHERE id = s.thread_id FOR KEY SHARE) t ON true
),
marked AS (
    UPDATE et_outbound_queue q
       SET status = CASE WHEN v.allowed THEN q.status ELSE 'failed' END,
           outcome = CASE WHEN v.allowed THEN NULL ELSE 'cancelled' END,
           last_error = CASE WHEN v.allowed THEN q.last_error ELSE 'a person took the conversation over' END,
           lease_until = CASE WHEN v.allowed THEN q.lease_until END,
           finished_at = CASE WHEN v.allowed THEN NULL ELSE now() END,
           send_started_at = CASE WHEN v.allowed THEN now() END,
           updated_at = now()
      FROM (SELECT d.queue_id, d.token,
                   s.author <> 'ai' OR coalesce(d.owner = 'ai' AND s.thread_epoch = d.epoch, false) AS allowed
              FROM d JOIN et_outbound_queue s ON s.id = d.queue_id) v
     WHERE q.id = v.queue_id AND q.claim_token = v.token AND q.claimed_by = $1
       AND (q.status = 'processing') IS TRUE  -- by id, not through a partial index
 RETURNING q.id, q.message_id, q.status, q.claim_token
),
mirrored AS (
    UPDATE et_messages m
       SET delivery_status = 'failed', reason = 'cancelled.takeover', updated_at = now()
      FROM marked WHERE m.id = marked.message_id AND marked.status = 'failed'
)
SELECT id, claim_token AS token FROM marked WHERE status = 'processing'
