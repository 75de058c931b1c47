-- Alerts to be told now, each held by its next attempt's time: an engine that dies tells it late, not never.
-- $1 at most  $2 seconds it is held
-- That something is over is not told before that it began.
WITH due AS (
    SELECT d.id FROM et_alert_deliveries d
     WHERE d.status = 'pending' AND d.next_attempt_at <= now()
       AND NOT EXISTS (SELECT FROM et_alert_deliveries e
                        WHERE e.incident_id = d.incident_id AND e.target = d.target AND e.id < d.id
                          AND e.status = 'pending')
     ORDER BY d.next_attempt_at LIMIT $1
       FOR UPDATE SKIP LOCKED
)
UPDATE et_alert_deliveries d
   SET attempts = attempts + 1, next_attempt_at = now() + make_interval(secs => $2::float)
  FROM due, et_incidents i
 WHERE d.id = due.id AND i.id = d.incident_id
RETURNING d.id, d.target, d.event, d.attempts, i.id AS incident, i.rule, i.subject, i.what, i.opened_at, i.resolved_at
