-- The newest inbound messages with what became of them: their replies and sends. $1 rows  $2 lowest id to look at
-- The LIMIT 1 of look-ups by key keeps the planner from reading whole tables for a join.
SELECT i.id, i.thread_id, i.tenant_id, i.channel, coalesce(l.name, t.address, i.raw_payload->>'from', '') AS who,
       left(coalesce(i.text_content, ''), 200) AS text, i.raw_payload->>'kind' AS kind,
       i.delivery_status AS status, i.reason, i.attempts,
       i.turn_head_id, i.created_at, i.claimed_at, i.replied_at, r.id AS reply_id, r.llm_model AS model,
       q.status AS send_status, q.outcome, q.attempts AS send_attempts, r.sent_at, r.delivered_at, r.read_at
  FROM (SELECT * FROM et_messages WHERE id >= $2 AND direction = 'inbound' ORDER BY id DESC LIMIT $1) i
  LEFT JOIN LATERAL (SELECT lead_id, address FROM et_threads WHERE id = i.thread_id LIMIT 1) t ON true
  LEFT JOIN LATERAL (SELECT name FROM et_leads WHERE id = coalesce(i.lead_id, t.lead_id) LIMIT 1) l ON true
  LEFT JOIN LATERAL (
       SELECT id, llm_model, sent_at, delivered_at, read_at FROM et_messages
        WHERE in_reply_to = coalesce(i.turn_head_id, i.id) AND direction = 'outbound' AND author = 'ai' LIMIT 1) r ON true
  LEFT JOIN LATERAL (SELECT status, outcome, attempts FROM et_outbound_queue WHERE message_id = r.id LIMIT 1) q ON true
 ORDER BY i.id DESC
