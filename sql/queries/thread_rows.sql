-- Conversations as a list shows them, in the order asked for. $1 ids
-- The LIMIT 1 of look-ups by key keeps the planner from reading whole tables for a join.
-- What nobody has answered yet is counted among a conversation's newest 20 messages, and only where somebody waits.
SELECT t.id, t.tenant_id, t.channel, t.account, t.lead_id, coalesce(t.address, '') AS address,
       coalesce(l.name, t.address, '') AS who, l.opted_out_at,
       t.owner, t.operator, t.mode, t.epoch, t.owner_since, t.auto_release_at, t.human_until, t.due_at,
       t.labels, CASE WHEN t.snoozed_until > now() THEN t.snoozed_until END AS snoozed_until, t.snoozed_by,
       CASE WHEN t.paused_at IS NOT NULL THEN 'thread'
            WHEN (SELECT value @> to_jsonb(t.channel) FROM et_platform_settings WHERE key = 'paused_channels')
            THEN 'channel' END AS paused,
       t.holder IS NOT NULL AS thinking, t.last_inbound_at, t.last_message_at, w.waiting,
       coalesce(u.unread, 0) AS unread, u.waiting_since,
       coalesce(n.text, '') AS last_text, n.author AS last_author, n.kind AS last_kind, n.status AS last_status,
       n.reason AS last_reason, d.drafted IS NOT NULL AS drafted
  FROM unnest($1::bigint[]) WITH ORDINALITY AS a(id, place)
 CROSS JOIN LATERAL (SELECT * FROM et_threads WHERE id = a.id LIMIT 1) t
  LEFT JOIN LATERAL (SELECT name, opted_out_at FROM et_leads WHERE id = t.lead_id LIMIT 1) l ON true
 CROSS JOIN LATERAL (
       SELECT t.last_inbound_at IS NOT NULL
              AND t.last_inbound_at >= coalesce(t.last_message_at, t.last_inbound_at) AS waiting) w
  LEFT JOIN LATERAL (
       SELECT left(text_content, 200) AS text, delivery_status AS status, reason, raw_payload->>'kind' AS kind,
              coalesce(author, CASE WHEN direction = 'inbound' THEN 'customer'
                                    WHEN llm_provider IS NOT NULL THEN 'ai' ELSE 'human' END) AS author
         FROM et_messages WHERE thread_id = t.id ORDER BY id DESC LIMIT 1) n ON true
  LEFT JOIN LATERAL (
       SELECT count(*) AS unread, min(created_at) AS waiting_since
         FROM (SELECT direction, created_at, bool_or(direction = 'outbound') OVER (ORDER BY id DESC) AS answered
                 FROM (SELECT id, direction, created_at FROM et_messages
                        WHERE thread_id = t.id AND w.waiting ORDER BY id DESC LIMIT 20) x) s
        WHERE NOT answered) u ON true
  LEFT JOIN LATERAL (
       SELECT true AS drafted
         FROM (SELECT draft, reply_message_id, draft_discarded_at FROM et_turns
                WHERE thread_id = t.id AND w.waiting AND kind <> 'dry_run' ORDER BY id DESC LIMIT 1) x
        WHERE draft <> '' AND reply_message_id IS NULL AND draft_discarded_at IS NULL) d ON true
 ORDER BY a.place
