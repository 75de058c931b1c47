-- Runs of start-up's six steps, the newest first. $1 before this id  $2 at most
SELECT id, started_at, finished_at, coalesce(actor, '') AS actor, coalesce(fingerprint, '') AS fingerprint, ok,
       steps, blockers, drift
  FROM et_schema_runs WHERE id < $1 ORDER BY id DESC LIMIT $2
