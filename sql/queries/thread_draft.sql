-- The latest text of the AI that was neither sent nor discarded, and that nothing of ours was said after. $1 thread
-- It is stale when the customer has written more than it answers.
SELECT n.id AS turn_id, n.message_id, n.outcome, n.reason, left(n.draft, 20000) AS text, n.model, n.finished_at,
       (SELECT count(*) FROM (SELECT FROM et_messages
                               WHERE thread_id = $1 AND direction = 'inbound' AND id >= n.message_id
                               ORDER BY id LIMIT 100) m) > greatest(n.burst, 1) AS stale
  FROM (SELECT * FROM et_turns WHERE thread_id = $1 ORDER BY id DESC LIMIT 20) n
 WHERE n.draft IS NOT NULL AND n.draft <> '' AND n.kind <> 'dry_run' AND n.reply_message_id IS NULL
   AND n.draft_discarded_at IS NULL
   AND NOT EXISTS (
       SELECT FROM (SELECT direction, created_at FROM et_messages
                     WHERE thread_id = $1 ORDER BY id DESC LIMIT 20) m
        WHERE m.direction = 'outbound' AND m.created_at > n.finished_at)
 ORDER BY n.id DESC
 LIMIT 1
