-- T1: take due threads that nobody holds, their open messages, and what a turn needs to know.
-- $1 engine  $2 threads at most  $3 lease, seconds  $4 messages a turn at most  $5 history rows
-- $6 channels on which the AI is paused  $7 $8 what a message says that opts out, or in again (regular expressions)
-- A thread owned by a person gives no turn: its messages are parked as inbound_human_takeover.
-- A message that was tried before is taken alone, so that a bad one cannot hold up its burst.
-- Rows are carried from step to step, never joined back; IS TRUE keeps lookups by id off the partial indexes.
WITH due AS MATERIALIZED (
    SELECT id, tenant_id, lead_id, owner, claim_token + 1 AS token, last_inbound_at
      FROM et_threads
     WHERE due_at <= now() AND holder IS NULL
       AND (owner <> 'ai' OR (paused_at IS NULL AND channel <> ALL ($6::text[])))
     ORDER BY due_at
     LIMIT $2
       FOR UPDATE SKIP LOCKED
),
found AS MATERIALIZED (
    SELECT d.id AS thread_id, d.tenant_id, d.lead_id, d.owner, d.token, o.head_id, o.ids,
           -- A message was committed between this statement's snapshot and the lock: it is not seen here, so
           -- the thread stays due.
           coalesce(o.open > cardinality(o.ids), false)
           OR (SELECT s.last_inbound_at FROM et_threads s WHERE s.id = d.id) IS DISTINCT FROM d.last_inbound_at
              AS stays_due
      FROM due d
      LEFT JOIN LATERAL (
           SELECT min(id) AS head_id, count(*) AS open,
                  array_agg(id) FILTER (
                      WHERE place = 1 OR (place <= $4 AND head_attempts = 0 AND attempts = 0)) AS ids
             FROM (SELECT id, attempts, row_number() OVER w AS place, first_value(attempts) OVER w AS head_attempts
                     FROM (SELECT id, attempts FROM et_messages
                            WHERE thread_id = d.id AND direction = 'inbound' AND delivery_status = 'received'
                            ORDER BY id
                            LIMIT $4 + 1) m
                   WINDOW w AS (ORDER BY id)) p) o ON true
),
taken AS (
    UPDATE et_messages m
       SET delivery_status = CASE c.owner WHEN 'ai' THEN 'inbound_processing' ELSE 'inbound_human_takeover' END,
           reason = CASE c.owner WHEN 'ai' THEN m.reason ELSE 'takeover.owned' END,
           turn_head_id = CASE WHEN c.owner = 'ai' AND m.id <> c.head_id THEN c.head_id END,
           attempts = m.attempts + (c.owner = 'ai')::integer,
           claim_token = c.token,
           claimed_by = $1,
           claimed_at = now(),
           lease_until = CASE c.owner WHEN 'ai' THEN now() + make_interval(secs => $3) END,
           updated_at = now()
      FROM found c
     WHERE m.id = ANY (c.ids) AND (m.delivery_status = 'received') IS TRUE
 RETURNING m.id, c.thread_id, m.lead_id, c.owner, c.head_id, m.attempts, m.provider_message_id,
           c.tenant_id, coalesce(c.lead_id, m.lead_id) AS customer_id,
           -- A provider that was away delivers late: the customer wrote when the provider says.
           greatest(least(m.created_at, m.provider_timestamp, now()), '2000-01-01') AS created_at,
           left(m.text_content, 20000) AS text_content, m.raw_payload->>'kind' AS kind,
           m.raw_payload->>'from' AS sender, m.raw_payload->>'name' AS sender_name,
           m.reason IN ('replay', 'handed_back') AS asked_for
),
turns AS MATERIALIZED (
    SELECT thread_id, min(head_id) AS head_id, max(attempts) AS attempts, max(lead_id) AS lead_id,
           max(sender) AS sender, max(sender_name) AS sender_name, coalesce(bool_or(asked_for), false) AS asked_for,
           json_agg(json_build_array(id, text_content, kind, created_at, provider_message_id) ORDER BY id)
               AS messages
      FROM taken WHERE owner = 'ai'
     GROUP BY thread_id
),
consented AS (
    -- Heard though a person answers: once the AI has the thread back, it does not write to who opted out.
    UPDATE et_leads l SET opted_out_at = CASE WHEN w.out THEN now() END
      FROM (SELECT DISTINCT ON (customer_id) customer_id, tenant_id, text_content ~* $7 AS out
              FROM taken
             WHERE owner <> 'ai' AND (text_content ~* $7 OR text_content ~* $8)
             ORDER BY customer_id, id DESC) w
     WHERE l.id = w.customer_id AND l.tenant_id = w.tenant_id
),
held AS (
    UPDATE et_threads t
       SET holder = CASE WHEN f.head_id IS NOT NULL AND f.owner = 'ai' THEN $1 END,
           lease_until = CASE WHEN f.head_id IS NOT NULL AND f.owner = 'ai' THEN now() + make_interval(secs => $3) END,
           claim_token = f.token,
           due_at = CASE WHEN f.stays_due THEN now() END,
           burst_started_at = CASE WHEN f.stays_due THEN now() END
      FROM found f
     WHERE t.id = f.thread_id
 RETURNING t.id, t.tenant_id, t.lead_id, t.channel, t.account, t.address, t.epoch, t.claim_token,
           t.mode, t.human_until, t.last_inbound_at
)
SELECT t.id AS thread_id, t.tenant_id, coalesce(t.lead_id, m.lead_id) AS lead_id, t.channel, t.account, t.address,
       t.epoch, t.claim_token AS token, t.mode, t.human_until, m.head_id, m.attempts, m.messages, m.sender, m.sender_name,
       m.asked_for, t.last_inbound_at, l.tenant_id AS lead_tenant_id, l.name AS lead_name, l.opted_out_at, now() AS claimed_at,
       h.said_ids, h.said_by, h.said, h.said_at
  FROM held t
  JOIN turns m ON m.thread_id = t.id
  LEFT JOIN et_leads l ON l.id = coalesce(t.lead_id, m.lead_id)
  LEFT JOIN LATERAL (
       SELECT array_agg(x.id) AS said_ids, array_agg(x.author) AS said_by, array_agg(x.text_content) AS said,
              array_agg(x.created_at) AS said_at
         FROM (SELECT id, greatest(least(created_at, now()), '2000-01-01') AS created_at,
                      left(text_content, 8000) AS text_content,
                      coalesce(author, CASE WHEN direction = 'inbound' THEN 'customer'
                                            WHEN llm_provider IS NOT NULL THEN 'ai' ELSE 'human' END) AS author
                 FROM et_messages
                WHERE thread_id = t.id AND id < m.head_id AND text_content IS NOT NULL
                  AND NOT (direction = 'outbound' AND delivery_status = 'failed')
                ORDER BY id DESC LIMIT $5) x) h ON true
