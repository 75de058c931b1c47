-- Seconds until the next thread that may be claimed is due; no row when none waits.
-- $1 channels on which the AI is paused
SELECT greatest(extract(epoch FROM due_at - now()), 0)::float AS seconds
  FROM et_threads WHERE due_at IS NOT NULL AND holder IS NULL
   AND (owner <> 'ai' OR (paused_at IS NULL AND channel <> ALL ($1::text[])))
 ORDER BY due_at LIMIT 1
