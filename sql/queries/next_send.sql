-- Seconds until the next send or retry is due; no row when none waits.
SELECT greatest(extract(epoch FROM min(next_attempt_at) - now()), 0)::float AS seconds
  FROM et_outbound_queue WHERE status IN ('queued', 'retry_scheduled') HAVING count(*) > 0
