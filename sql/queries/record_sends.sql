-- T5: record what became of sends.
-- $1 results, a JSON array (see queue.SendResult; seconds_ago since it was known). A message was sent when the far end
-- answered, not when that is recorded: its receipt may have come meanwhile.
-- A late answer that confirms a send whose outcome was already given up as unknown still counts.
WITH d AS MATERIALIZED (
    SELECT * FROM json_to_recordset($1::text::json) AS d(
        queue_id bigint, token bigint, status text, outcome text, provider_message_id text, error_class text,
        error text, retry_seconds float, hand_over boolean, attempts integer, other_ids jsonb,
        seconds_ago float)
),
recorded AS (
    UPDATE et_outbound_queue q
       SET status = CASE WHEN q.status = 'failed' THEN 'sent' ELSE d.status END,
           outcome = d.outcome,
           attempts = coalesce(d.attempts, q.attempts),
           other_provider_ids = coalesce(nullif(d.other_ids, '[]'), q.other_provider_ids),
           provider_message_id = coalesce(d.provider_message_id, q.provider_message_id),
           error_class = d.error_class,
           last_error = d.error,
           next_attempt_at = CASE d.status WHEN 'retry_scheduled'
                                  THEN now() + make_interval(secs => d.retry_seconds) ELSE q.next_attempt_at END,
           lease_until = NULL,
           finished_at = CASE WHEN d.status IN ('sent', 'accepted', 'failed') THEN now() END,
           updated_at = now()
      FROM d
     WHERE q.id = d.queue_id AND q.claim_token = d.token
       AND (q.status = 'processing'
            OR (q.status = 'failed' AND q.outcome = 'unknown' AND d.status IN ('sent', 'accepted')))
           IS TRUE  -- by id, not through a partial index
 RETURNING q.id, q.message_id, q.status, q.outcome, q.provider_message_id, q.send_started_at, q.last_error,
           q.error_class, q.thread_id, q.claim_token, q.claimed_by, d.hand_over,
           greatest(now() - make_interval(secs => d.seconds_ago), q.send_started_at) AS known_at
),
mirrored AS (
    UPDATE et_messages m
       SET delivery_status = r.status,
           provider_message_id = coalesce(r.provider_message_id, m.provider_message_id),
           send_started_at = r.send_started_at,
           sent_at = CASE WHEN r.status IN ('sent', 'accepted') THEN r.known_at ELSE m.sent_at END,
           reason = CASE WHEN r.status = 'failed' THEN r.outcome || coalesce('.' || r.error_class, '') END,
           last_error = r.last_error,
           updated_at = now()
      FROM recorded r WHERE m.id = r.message_id
),
handed_over AS (
    -- The AI cannot reach this customer, a person can (by a template, by phone).
    UPDATE et_threads t
       SET owner = 'human', epoch = t.epoch + 1, owner_since = now(), auto_release_at = NULL
      FROM recorded r WHERE r.hand_over AND t.id = r.thread_id AND t.owner = 'ai'
 RETURNING t.id, t.epoch
),
audited AS (
    INSERT INTO et_audit_log (actor, origin, act, subject, before, after, note)
    SELECT DISTINCT ON (h.id) 'dispatcher', r.claimed_by, 'takeover', 'thread:' || h.id,
           jsonb_build_object('owner', 'ai', 'epoch', h.epoch - 1),
           jsonb_build_object('owner', 'human', 'epoch', h.epoch, 'message_id', r.message_id), r.last_error
      FROM handed_over h JOIN recorded r ON r.thread_id = h.id AND r.hand_over
     ORDER BY h.id, r.message_id
)
SELECT id, claim_token AS token FROM recorded
