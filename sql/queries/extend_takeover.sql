-- When a thread that a person owns goes back to the AI by itself.
-- $1 thread  $2 minutes from now, or NULL for never
UPDATE et_threads SET auto_release_at = now() + make_interval(secs => $2::float * 60)
 WHERE id = $1
RETURNING auto_release_at
