-- Sends as a list shows them. $1 queue ids
SELECT q.id, q.message_id, q.status, q.outcome, q.error_class, q.last_error AS error, q.attempts,
       q.next_attempt_at, q.created_at, q.updated_at, q.send_started_at, q.finished_at, q.claimed_by,
       q.tenant_id, q.thread_id, coalesce(q.channel, m.channel, '') AS channel, q.account, q.author,
       coalesce(l.name, t.address, '') AS who, left(coalesce(m.text_content, ''), 300) AS text,
       coalesce(q.provider_message_id, m.provider_message_id) AS provider_message_id
  FROM et_outbound_queue q
  LEFT JOIN et_messages m ON m.id = q.message_id
  LEFT JOIN et_threads t ON t.id = q.thread_id
  LEFT JOIN et_leads l ON l.id = t.lead_id
 WHERE q.id = ANY($1::bigint[])
 ORDER BY q.id
