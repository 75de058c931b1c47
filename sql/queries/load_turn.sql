-- A message as a turn would see it, without claiming it: for dry runs and drafts.
-- $1 message  $2 history rows
SELECT t.id AS thread_id, t.tenant_id, coalesce(t.lead_id, m.lead_id) AS lead_id, t.channel, t.account, t.address,
       t.epoch, t.claim_token AS token, t.mode, t.human_until, m.attempts,
       json_build_array(json_build_array(m.id, left(m.text_content, 20000), m.raw_payload->>'kind',
                                         m.created_at::timestamptz, m.provider_message_id)) AS messages,
       m.raw_payload->>'from' AS sender, m.raw_payload->>'name' AS sender_name, true AS asked_for,
       t.last_inbound_at,
       l.tenant_id AS lead_tenant_id, l.name AS lead_name, l.opted_out_at, now() AS claimed_at,
       h.said_ids, h.said_by, h.said, h.said_at
  FROM et_messages m
  JOIN et_threads t ON t.id = m.thread_id
  LEFT JOIN et_leads l ON l.id = coalesce(t.lead_id, m.lead_id)
  LEFT JOIN LATERAL (
       SELECT array_agg(x.id) AS said_ids, array_agg(x.author) AS said_by, array_agg(x.text_content) AS said,
              array_agg(x.created_at) AS said_at
         FROM (SELECT id, greatest(least(created_at, now()), '2000-01-01') AS created_at,
                      left(text_content, 8000) AS text_content,
                      coalesce(author, CASE WHEN direction = 'inbound' THEN 'customer'
                                            WHEN llm_provider IS NOT NULL THEN 'ai' ELSE 'human' END) AS author
                 FROM et_messages
                WHERE thread_id = t.id AND id < m.id AND text_content IS NOT NULL
                  AND NOT (direction = 'outbound' AND delivery_status = 'failed')
                ORDER BY id DESC LIMIT $2) x) h ON true
 WHERE m.id = $1 AND m.direction = 'inbound'
