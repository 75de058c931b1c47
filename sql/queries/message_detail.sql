-- One message whole, with the conversation and the customer it belongs to. $1 id
SELECT to_jsonb(m) - 'text_content' AS message, left(m.text_content, 20000) AS text, octet_length(m.text_content) AS bytes,
       m.created_at, m.claimed_at, m.replied_at, m.send_started_at, m.sent_at, m.delivered_at, m.read_at,
       to_jsonb(t) AS thread, coalesce(l.name, t.address, m.raw_payload->>'from', '') AS who
  FROM et_messages m
  LEFT JOIN et_threads t ON t.id = m.thread_id
  LEFT JOIN et_leads l ON l.id = coalesce(m.lead_id, t.lead_id)
 WHERE m.id = $1
