-- Calls to each provider in the newest $1 turns: how many, how fast those that answered, why the others failed.
WITH calls AS (
    SELECT c.call ->> 'provider' AS provider, t.started_at, c.call -> 'ok' = 'true'::jsonb AS ok,
           coalesce(c.call -> 'skipped' = 'true'::jsonb, false) AS skipped, c.call ->> 'failure' AS failure,
           CASE WHEN jsonb_typeof(c.call -> 'latency_ms') = 'number' THEN (c.call ->> 'latency_ms')::float END AS ms
      FROM (SELECT id, started_at, attempts FROM et_turns ORDER BY id DESC LIMIT $1) t
     CROSS JOIN LATERAL jsonb_array_elements(
               CASE WHEN jsonb_typeof(t.attempts) = 'array' THEN t.attempts ELSE '[]' END) AS c (call)
     WHERE c.call ->> 'provider' IS NOT NULL
),
failures AS (
    SELECT provider, jsonb_object_agg(failure, calls) AS classes
      FROM (SELECT provider, coalesce(failure, 'unknown') AS failure, count(*) AS calls
              FROM calls WHERE NOT coalesce(ok, false) AND NOT skipped GROUP BY 1, 2) f
     GROUP BY provider
)
SELECT c.provider, count(*) FILTER (WHERE NOT c.skipped) AS calls, count(*) FILTER (WHERE c.skipped) AS skipped,
       count(*) FILTER (WHERE c.ok) AS answered,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY c.ms) FILTER (WHERE c.ok) AS p50_ms,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY c.ms) FILTER (WHERE c.ok) AS p95_ms,
       min(c.started_at) AS since, coalesce(f.classes, '{}'::jsonb) AS failures
  FROM calls c LEFT JOIN failures f USING (provider)
 GROUP BY c.provider, f.classes
 ORDER BY calls DESC, c.provider
