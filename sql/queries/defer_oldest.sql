-- The thread whose rows no claim can take is put off, so that the others are not held up.
-- $1 seconds  $2 channels on which the AI is paused
UPDATE et_threads SET due_at = now() + make_interval(secs => $1)
 WHERE id = (SELECT id FROM et_threads WHERE due_at <= now() AND holder IS NULL
                AND (owner <> 'ai' OR (paused_at IS NULL AND channel <> ALL ($2::text[])))
              ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id
