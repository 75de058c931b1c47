-- Seconds until the next thread is due; no row when none waits.
SELECT greatest(extract(epoch FROM due_at - now()), 0)::float AS seconds
  FROM et_threads WHERE due_at IS NOT NULL AND holder IS NULL ORDER BY due_at LIMIT 1
