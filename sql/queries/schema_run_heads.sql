-- Runs of start-up's steps without their SQL, the newest first. $1 before this id  $2 at most
SELECT id, coalesce(finished_at, started_at) AS at, coalesce(actor, '') AS actor, ok,
       ARRAY(SELECT b->>'what' FROM jsonb_array_elements(blockers) b) AS blockers, jsonb_array_length(drift) AS drift,
       ARRAY(SELECT s->>'name' FROM jsonb_array_elements(steps) s WHERE s->>'status' = 'done'
                AND s->'statements' <> '[]') AS changed
  FROM et_schema_runs WHERE id < $1
 ORDER BY id DESC
 LIMIT $2
