-- A message came while the model was thinking: take it, and what else is open, into the running turn.
-- The caller has locked the thread in a statement before: what was committed until then is seen here.
-- $1 engine  $2 thread  $3 token  $4 head message  $5 messages at most
WITH held AS (
    SELECT id FROM et_threads
     WHERE id = $2 AND claim_token = $3 AND holder = $1 AND owner = 'ai'
),
more AS (
    -- The run of fresh messages at the front: one that was tried before is answered alone, and in its turn.
    SELECT id FROM (
        SELECT m.id, bool_and(m.attempts = 0) OVER (ORDER BY m.id) AS fresh
          FROM et_messages m JOIN held h ON h.id = m.thread_id
         WHERE m.direction = 'inbound' AND m.delivery_status = 'received'
         ORDER BY m.id LIMIT $5) x
     WHERE fresh
),
taken AS (
    UPDATE et_messages m
       SET delivery_status = 'inbound_processing', turn_head_id = $4, attempts = m.attempts + 1, claim_token = $3,
           claimed_by = $1, claimed_at = now(), updated_at = now(),
           lease_until = (SELECT lease_until FROM et_messages WHERE id = $4)
      FROM more WHERE m.id = more.id AND m.delivery_status = 'received'
 RETURNING m.id, left(m.text_content, 20000) AS text_content, m.raw_payload->>'kind' AS kind,
           greatest(least(m.created_at, m.provider_timestamp, now()), '2000-01-01')::timestamptz AS created_at,
           m.provider_message_id
),
emptied AS (
    UPDATE et_threads t SET due_at = NULL, burst_started_at = NULL FROM held h
     WHERE t.id = h.id
       AND NOT EXISTS (SELECT FROM et_messages m
                        WHERE m.thread_id = h.id AND m.direction = 'inbound' AND m.delivery_status = 'received'
                          AND m.id NOT IN (SELECT id FROM more))
)
SELECT id, text_content AS text, kind, created_at, provider_message_id FROM taken ORDER BY id
