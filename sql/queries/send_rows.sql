-- Sends as a list shows them. $1 queue ids
-- The LIMIT 1 of look-ups by key keeps the planner from reading whole tables for a join.
SELECT q.id, q.message_id, q.status, q.outcome, q.error_class, q.last_error AS error, q.attempts,
       q.next_attempt_at, q.created_at, q.updated_at, q.send_started_at, q.finished_at, q.claimed_by,
       q.tenant_id, q.thread_id, coalesce(q.channel, m.channel, '') AS channel, q.account, q.author,
       coalesce(l.name, t.address, '') AS who, left(coalesce(m.text_content, ''), 300) AS text,
       coalesce(q.provider_message_id, m.provider_message_id) AS provider_message_id
  FROM unnest($1::bigint[]) AS a(id)
 CROSS JOIN LATERAL (SELECT * FROM et_outbound_queue WHERE id = a.id LIMIT 1) q
  LEFT JOIN LATERAL (SELECT channel, text_content, provider_message_id
                       FROM et_messages WHERE id = q.message_id LIMIT 1) m ON true
  LEFT JOIN LATERAL (SELECT lead_id, address FROM et_threads WHERE id = q.thread_id LIMIT 1) t ON true
  LEFT JOIN LATERAL (SELECT name FROM et_leads WHERE id = t.lead_id LIMIT 1) l ON true
 ORDER BY q.id
