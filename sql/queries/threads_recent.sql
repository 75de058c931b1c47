-- Conversations by their last message, the newest first. $1 last message before this  $2 id, where times are equal
-- $3 at most
SELECT id FROM et_threads
 WHERE last_message_at IS NOT NULL AND last_message_at <= $1 AND (last_message_at, id) < ($1, $2)
 ORDER BY last_message_at DESC, id DESC
 LIMIT $3
