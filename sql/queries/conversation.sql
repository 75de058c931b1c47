-- The messages of a conversation just before an id, the newest first. $1 thread  $2 before  $3 at most
SELECT m.id, m.created_at AS at, m.direction, m.delivery_status AS status, m.reason,
       coalesce(m.author, CASE WHEN m.direction = 'inbound' THEN 'customer'
                               WHEN m.llm_provider IS NOT NULL THEN 'ai' ELSE 'human' END) AS author,
       left(coalesce(m.text_content, ''), 20000) AS text, m.raw_payload->>'kind' AS kind,
       q.id AS queue_id, q.outcome, m.last_error AS error, m.raw_payload->>'operator' AS operator,
       m.llm_model AS model, m.in_reply_to, m.sent_at, m.delivered_at, m.read_at
  FROM et_messages m
  LEFT JOIN et_outbound_queue q ON m.direction = 'outbound' AND q.message_id = m.id
 WHERE m.thread_id = $1 AND m.id < $2
 ORDER BY m.id DESC
 LIMIT $3
