-- Seconds until the next send or retry is due; no row when none waits.
SELECT greatest(extract(epoch FROM min(at) - now()), 0)::float AS seconds
  FROM ((SELECT next_attempt_at AS at FROM et_outbound_queue WHERE status = 'queued'
          ORDER BY next_attempt_at, id LIMIT 1)
         UNION ALL
        (SELECT next_attempt_at FROM et_outbound_queue WHERE status = 'retry_scheduled'
          ORDER BY next_attempt_at LIMIT 1)) s
HAVING count(*) > 0
