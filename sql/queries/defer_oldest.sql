-- The thread whose rows no claim can take is put off, so that the others are not held up.
-- $1 seconds
UPDATE et_threads SET due_at = now() + make_interval(secs => $1)
 WHERE id = (SELECT id FROM et_threads WHERE due_at <= now() AND holder IS NULL
              ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id
