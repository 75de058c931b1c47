-- A person spoke in a thread: a running hand-back timer starts anew, and never ends sooner than it would have.
-- $1 thread  $2 operator  $3 minutes, or NULL to leave the timer as it is
UPDATE et_threads
   SET last_message_at = now(),
       operator = CASE owner WHEN 'human' THEN coalesce(operator, $2) END,
       auto_release_at = CASE WHEN auto_release_at IS NOT NULL
           THEN greatest(auto_release_at, now() + make_interval(secs => $3::float * 60)) END
 WHERE id = $1
RETURNING auto_release_at
