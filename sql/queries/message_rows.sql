-- Messages as a list shows them. $1 ids
-- The LIMIT 1 of look-ups by key keeps the planner from reading whole tables for a join.
SELECT m.id, m.created_at, m.direction, m.delivery_status AS status, m.reason, m.channel, m.account, m.tenant_id,
       m.thread_id, coalesce(l.name, t.address, m.raw_payload->>'from', '') AS who,
       coalesce(m.author, CASE WHEN m.direction = 'inbound' THEN 'customer'
                               WHEN m.llm_provider IS NOT NULL THEN 'ai' ELSE 'human' END) AS author,
       left(coalesce(m.text_content, ''), 300) AS text, m.raw_payload->>'kind' AS kind, q.outcome,
       m.llm_provider AS provider, m.llm_model AS model, m.llm_total_tokens AS tokens,
       m.llm_estimated_cost_usd::float AS cost_usd, m.attempts, m.delivered_at, m.read_at
  FROM et_messages m
  LEFT JOIN LATERAL (SELECT lead_id, address FROM et_threads WHERE id = m.thread_id LIMIT 1) t ON true
  LEFT JOIN LATERAL (SELECT name FROM et_leads WHERE id = coalesce(m.lead_id, t.lead_id) LIMIT 1) l ON true
  LEFT JOIN LATERAL (
       SELECT outcome FROM et_outbound_queue WHERE m.direction = 'outbound' AND message_id = m.id LIMIT 1) q ON true
 WHERE m.id = ANY($1::bigint[])
 ORDER BY m.id
