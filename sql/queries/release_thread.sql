-- The AI answers this thread from now on. The caller has locked the thread, which a person owns.
-- $1 thread  $2 whether the AI answers what the person left unanswered
-- What came since the takeover and after the person's last word is received again, or else stays parked.
WITH spoken AS MATERIALIZED (
    SELECT coalesce(max(id), 0) AS last_id FROM et_messages
     WHERE thread_id = $1 AND direction = 'outbound'
       AND coalesce(author, CASE WHEN llm_provider IS NULL THEN 'human' ELSE 'ai' END) = 'human'
       AND (delivery_status <> 'failed' OR reason LIKE 'unknown%')
),
waiting AS MATERIALIZED (
    SELECT m.id, m.delivery_status, $2 AND m.id > s.last_id AS again
      FROM et_threads t
      JOIN et_messages m ON m.thread_id = t.id AND m.direction = 'inbound'
     CROSS JOIN spoken s
     WHERE t.id = $1
       AND (m.delivery_status = 'received'
            OR (m.delivery_status = 'inbound_human_takeover'
                AND m.updated_at >= coalesce(t.owner_since, '-infinity')))
),
again AS (
    UPDATE et_messages m
       SET delivery_status = 'received', reason = 'handed_back', last_error = NULL, attempts = 0,
           turn_head_id = NULL, updated_at = now()
      FROM waiting w
     WHERE m.id = w.id AND w.again AND m.delivery_status = 'inbound_human_takeover'
 RETURNING m.id
),
parked AS (
    UPDATE et_messages m
       SET delivery_status = 'inbound_human_takeover', reason = 'takeover.owned', turn_head_id = NULL,
           updated_at = now()
      FROM waiting w
     WHERE m.id = w.id AND NOT w.again AND m.delivery_status = 'received'
),
owned AS (
    UPDATE et_threads
       SET owner = 'ai', operator = NULL, epoch = epoch + 1, owner_since = now(), human_until = now(),
           auto_release_at = NULL, holder = NULL, lease_until = NULL, reserved_usd = NULL,
           claim_token = claim_token + 1,
           due_at = CASE WHEN EXISTS (SELECT FROM waiting WHERE again) THEN now() END,
           burst_started_at = CASE WHEN EXISTS (SELECT FROM waiting WHERE again) THEN now() END
     WHERE id = $1
 RETURNING epoch
)
SELECT o.epoch, ARRAY(SELECT id FROM waiting WHERE again ORDER BY id) AS again,
       ARRAY(SELECT id FROM waiting WHERE NOT again ORDER BY id) AS parked,
       pg_notify('et_inbound', coalesce((SELECT min(id) FROM waiting WHERE again)::text, ''))
  FROM owned o
