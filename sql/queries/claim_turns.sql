-- T1: take due threads that nobody holds, their open messages, and what a turn needs to know.
-- $1 engine  $2 threads at most  $3 lease, seconds  $4 messages a turn at most  $5 history rows
-- $6 channels on which the AI is paused
-- A thread owned by a person gives no turn: its messages are parked as inbound_human_takeover.
-- A message that was tried before is taken alone, so that a bad one cannot hold up its burst.
WITH due AS MATERIALIZED (
    SELECT id, owner, epoch, claim_token + 1 AS token, last_inbound_at
      FROM et_threads
     WHERE due_at <= now() AND holder IS NULL
       AND (owner <> 'ai' OR (paused_at IS NULL AND channel <> ALL ($6::text[])))
     ORDER BY due_at
     LIMIT $2
       FOR UPDATE SKIP LOCKED
),
overtaken AS MATERIALIZED (
    -- A message was committed between this statement's snapshot and the lock: it is not seen here, so the
    -- thread stays due.
    SELECT d.id FROM due d JOIN et_threads t ON t.id = d.id
     WHERE t.last_inbound_at IS DISTINCT FROM d.last_inbound_at
),
open_messages AS MATERIALIZED (
    SELECT d.id AS thread_id, m.id, m.attempts,
           row_number() OVER w AS place,
           first_value(m.id) OVER w AS head_id,
           first_value(m.attempts) OVER w AS head_attempts
      FROM due d
     CROSS JOIN LATERAL (
           SELECT id, attempts FROM et_messages
            WHERE thread_id = d.id AND direction = 'inbound' AND delivery_status = 'received'
            ORDER BY id
            LIMIT $4 + 1) m
    WINDOW w AS (PARTITION BY d.id ORDER BY m.id)
),
chosen AS MATERIALIZED (
    SELECT o.*, d.owner, d.epoch, d.token
      FROM open_messages o JOIN due d ON d.id = o.thread_id
     WHERE o.place = 1 OR (o.place <= $4 AND o.head_attempts = 0 AND o.attempts = 0)
),
taken AS (
    UPDATE et_messages m
       SET delivery_status = CASE c.owner WHEN 'ai' THEN 'inbound_processing' ELSE 'inbound_human_takeover' END,
           reason = CASE c.owner WHEN 'ai' THEN m.reason ELSE 'takeover.owned' END,
           turn_head_id = CASE WHEN c.owner = 'ai' AND c.place > 1 THEN c.head_id END,
           attempts = m.attempts + (c.owner = 'ai')::integer,
           claim_token = c.token,
           claimed_by = $1,
           claimed_at = now(),
           lease_until = CASE c.owner WHEN 'ai' THEN now() + make_interval(secs => $3) END,
           updated_at = now()
      FROM chosen c
     WHERE m.id = c.id AND m.delivery_status = 'received'
 RETURNING m.id, m.thread_id, m.lead_id, c.owner, c.head_id, m.attempts, m.provider_message_id,
           greatest(least(m.created_at, now()), '2000-01-01') AS created_at,
           left(m.text_content, 20000) AS text_content, m.raw_payload->>'kind' AS kind,
           m.raw_payload->>'from' AS sender, m.raw_payload->>'name' AS sender_name,
           m.reason IN ('replay', 'handed_back') AS asked_for
),
held AS (
    UPDATE et_threads t
       SET holder = CASE WHEN b.messages > 0 AND d.owner = 'ai' THEN $1 END,
           lease_until = CASE WHEN b.messages > 0 AND d.owner = 'ai' THEN now() + make_interval(secs => $3) END,
           claim_token = d.token,
           due_at = CASE WHEN b.left_over > 0 OR d.id IN (SELECT id FROM overtaken) THEN now() END,
           burst_started_at = CASE WHEN b.left_over > 0 OR d.id IN (SELECT id FROM overtaken) THEN now() END
      FROM due d
      LEFT JOIN LATERAL (
           SELECT count(*) FILTER (WHERE c.id IS NOT NULL) AS messages,
                  count(*) FILTER (WHERE c.id IS NULL) AS left_over
             FROM open_messages o LEFT JOIN chosen c ON c.id = o.id
            WHERE o.thread_id = d.id) b ON true
     WHERE t.id = d.id
 RETURNING t.id, t.tenant_id, t.lead_id, t.channel, t.account, t.address, t.epoch, t.claim_token,
           t.mode, t.human_until, t.last_inbound_at
)
SELECT t.id AS thread_id, t.tenant_id, coalesce(t.lead_id, m.lead_id) AS lead_id, t.channel, t.account, t.address,
       t.epoch, t.claim_token AS token, t.mode, t.human_until, m.head_id, m.attempts, m.messages, m.sender, m.sender_name,
       m.asked_for, l.tenant_id AS lead_tenant_id, l.name AS lead_name, l.opted_out_at, now() AS claimed_at,
       coalesce(h.history, '[]') AS history
  FROM held t
  JOIN LATERAL (
       SELECT min(head_id) AS head_id, max(attempts) AS attempts, max(lead_id) AS lead_id,
              max(sender) AS sender, max(sender_name) AS sender_name, coalesce(bool_or(asked_for), false) AS asked_for,
              json_agg(json_build_object('id', id, 'text', text_content, 'kind', kind, 'created_at', created_at,
                                         'provider_message_id', provider_message_id) ORDER BY id) AS messages
         FROM taken WHERE thread_id = t.id AND owner = 'ai') m ON m.head_id IS NOT NULL
  LEFT JOIN et_leads l ON l.id = coalesce(t.lead_id, m.lead_id)
  LEFT JOIN LATERAL (
       SELECT json_agg(json_build_object('id', x.id, 'author', x.author, 'text', x.text_content,
                                         'created_at', x.created_at)) AS history
         FROM (SELECT id, greatest(least(created_at, now()), '2000-01-01') AS created_at,
                      left(text_content, 8000) AS text_content,
                      coalesce(author, CASE WHEN direction = 'inbound' THEN 'customer'
                                            WHEN llm_provider IS NOT NULL THEN 'ai' ELSE 'human' END) AS author
                 FROM et_messages
                WHERE thread_id = t.id AND id < m.head_id AND text_content IS NOT NULL
                  AND NOT (direction = 'outbound' AND delivery_status = 'failed')
                ORDER BY id DESC LIMIT $5) x) h ON true
