-- The newest inbound messages with what became of them: their replies and sends. $1 rows  $2 lowest id to look at
SELECT i.id, i.thread_id, i.tenant_id, i.channel, coalesce(l.name, t.address, i.raw_payload->>'from', '') AS who,
       left(coalesce(i.text_content, ''), 200) AS text, i.raw_payload->>'kind' AS kind,
       i.delivery_status AS status, i.reason, i.attempts,
       i.turn_head_id, i.created_at, i.claimed_at, i.replied_at, r.id AS reply_id, r.llm_model AS model,
       q.status AS send_status, q.outcome, q.attempts AS send_attempts, r.sent_at, r.delivered_at, r.read_at
  FROM (SELECT * FROM et_messages WHERE id >= $2 AND direction = 'inbound' ORDER BY id DESC LIMIT $1) i
  LEFT JOIN et_threads t ON t.id = i.thread_id
  LEFT JOIN et_leads l ON l.id = coalesce(i.lead_id, t.lead_id)
  LEFT JOIN et_messages r ON r.in_reply_to = coalesce(i.turn_head_id, i.id) AND r.direction = 'outbound'
                         AND r.author = 'ai'
  LEFT JOIN et_outbound_queue q ON q.message_id = r.id
 ORDER BY i.id DESC
