-- Texts of the AI that wait for a person, one a conversation, the newest first.
-- $1 turns without a reply to look at  $2 thread, or NULL  $3 at most
-- Each is what `thread_draft` finds for its conversation.
WITH near AS MATERIALIZED (
    SELECT DISTINCT thread_id
      FROM (SELECT * FROM (SELECT thread_id, draft, kind, reply_message_id, draft_discarded_at FROM et_turns
                            WHERE outcome <> 'replied' AND $2::bigint IS NULL ORDER BY id DESC LIMIT $1) r
             UNION ALL
            SELECT * FROM (SELECT thread_id, draft, kind, reply_message_id, draft_discarded_at FROM et_turns
                            WHERE thread_id = $2 ORDER BY id DESC LIMIT 20) o) n
     WHERE draft <> '' AND kind <> 'dry_run' AND reply_message_id IS NULL AND draft_discarded_at IS NULL
)
SELECT d.*, t.owner, t.operator, t.channel, coalesce(l.name, t.address, '') AS who,
       left(coalesce(m.text_content, ''), 4000) AS asked
  FROM near c
 CROSS JOIN LATERAL (SELECT * FROM et_threads WHERE id = c.thread_id LIMIT 1) t
 CROSS JOIN LATERAL (
       SELECT n.id AS turn_id, n.thread_id, n.message_id, n.reason, left(n.draft, 20000) AS text, n.model,
              n.finished_at,
              (SELECT count(*) FROM (SELECT FROM et_messages
                                      WHERE thread_id = t.id AND direction = 'inbound' AND id >= n.message_id
                                      ORDER BY id LIMIT 100) x) > greatest(n.burst, 1) AS stale
         FROM (SELECT * FROM et_turns WHERE thread_id = t.id ORDER BY id DESC LIMIT 20) n
        WHERE n.draft <> '' AND n.kind <> 'dry_run' AND n.reply_message_id IS NULL
          AND n.draft_discarded_at IS NULL
          AND NOT EXISTS (SELECT FROM (SELECT direction, created_at FROM et_messages
                                        WHERE thread_id = t.id ORDER BY id DESC LIMIT 20) y
                           WHERE y.direction = 'outbound' AND y.created_at > n.finished_at)
        ORDER BY n.id DESC LIMIT 1) d
  LEFT JOIN LATERAL (SELECT name FROM et_leads WHERE id = t.lead_id LIMIT 1) l ON true
  LEFT JOIN LATERAL (SELECT text_content FROM et_messages WHERE id = d.message_id LIMIT 1) m ON true
 ORDER BY d.turn_id DESC
 LIMIT $3
