-- What is wrong now becomes incidents: new ones open and are told, those that are over are closed and told.
-- $1 findings, a JSON array of {rule, subject, what}  $2 seconds without a finding until one is over  $3 targets
-- However many engines look, one incident is open of each rule and subject, and each is told once.
WITH found AS (
    SELECT DISTINCT ON (rule, subject) rule, subject, what
      FROM jsonb_to_recordset($1::text::jsonb) AS f(rule text, subject text, what text)
     ORDER BY rule, subject
),
opened AS (
    INSERT INTO et_incidents AS i (rule, subject, what)
    SELECT rule, subject, what FROM found
        ON CONFLICT (rule, subject) WHERE resolved_at IS NULL DO UPDATE SET seen_at = now(), what = excluded.what
 RETURNING i.id, i.rule, i.subject, i.what, (xmax = 0) AS new
),
resolved AS (
    UPDATE et_incidents i SET resolved_at = now()
     WHERE resolved_at IS NULL AND seen_at < now() - make_interval(secs => $2::float)
       AND NOT EXISTS (SELECT FROM found f WHERE f.rule = i.rule AND f.subject = i.subject)
 RETURNING i.id, i.rule, i.subject, i.what
),
changed AS (
    SELECT id, rule, subject, what, 'opened' AS event FROM opened WHERE new
     UNION ALL
    SELECT id, rule, subject, what, 'resolved' FROM resolved
),
queued AS (
    INSERT INTO et_alert_deliveries (incident_id, target, event)
    SELECT c.id, t.target, c.event FROM changed c, unnest($3::text[]) AS t(target)
        ON CONFLICT (incident_id, target, event) DO NOTHING
)
SELECT id, rule, subject, what, event FROM changed ORDER BY id
