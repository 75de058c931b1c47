-- Conversations as a list shows them, in the order asked for. $1 ids
SELECT t.id, t.tenant_id, t.channel, t.account, t.lead_id, coalesce(t.address, '') AS address,
       coalesce(l.name, t.address, '') AS who, l.opted_out_at,
       t.owner, t.operator, t.epoch, t.owner_since, t.auto_release_at, t.human_until, t.due_at,
       t.holder IS NOT NULL AS thinking, t.last_inbound_at, t.last_message_at,
       t.last_inbound_at IS NOT NULL
           AND t.last_inbound_at >= coalesce(t.last_message_at, t.last_inbound_at) AS waiting,
       coalesce(n.unread, 0) AS unread, coalesce(n.last_text, '') AS last_text, n.last_author, n.last_kind,
       n.last_status
  FROM unnest($1::bigint[]) WITH ORDINALITY AS w(id, place)
  JOIN et_threads t ON t.id = w.id
  LEFT JOIN et_leads l ON l.id = t.lead_id
  LEFT JOIN LATERAL (
       SELECT count(*) FILTER (WHERE s.direction = 'inbound' AND s.id > coalesce(s.last_out, 0)) AS unread,
              (array_agg(left(s.text_content, 200) ORDER BY s.id DESC))[1] AS last_text,
              (array_agg(s.author ORDER BY s.id DESC))[1] AS last_author,
              (array_agg(s.kind ORDER BY s.id DESC))[1] AS last_kind,
              (array_agg(s.delivery_status ORDER BY s.id DESC))[1] AS last_status
         FROM (SELECT id, direction, text_content, delivery_status, raw_payload->>'kind' AS kind,
                      coalesce(author, CASE WHEN direction = 'inbound' THEN 'customer'
                                            WHEN llm_provider IS NOT NULL THEN 'ai' ELSE 'human' END) AS author,
                      max(id) FILTER (WHERE direction = 'outbound') OVER () AS last_out
                 FROM (SELECT * FROM et_messages WHERE thread_id = t.id ORDER BY id DESC LIMIT 20) x) s) n ON true
 ORDER BY w.place
