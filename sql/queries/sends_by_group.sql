-- Sends by what a person makes of them, the newest of each group. $1 groups  $2 rows of a status to look at, at most
-- $3 of each group at most  $4 channel, or NULL  $5 tenant, or NULL  $6 thread, or NULL  $7 error class, or NULL
-- The order of each look names its index's own order, so that no statistics can talk the planner into reading history.
WITH looked AS MATERIALIZED (
    SELECT CASE outcome WHEN 'unknown' THEN 'unknown' WHEN 'cancelled' THEN 'cancelled' ELSE 'failed' END AS kind,
           id, channel, tenant_id, thread_id, error_class
      FROM (SELECT * FROM et_outbound_queue WHERE status = 'failed' ORDER BY id DESC LIMIT $2) f
     WHERE $1::text[] && '{unknown,failed,cancelled}'
     UNION ALL
    SELECT 'retry', id, channel, tenant_id, thread_id, error_class
      FROM (SELECT * FROM et_outbound_queue
             WHERE status = 'retry_scheduled' ORDER BY next_attempt_at LIMIT $2) r
     WHERE 'retry' = ANY($1)
     UNION ALL
    SELECT 'sending', id, channel, tenant_id, thread_id, error_class
      FROM (SELECT * FROM et_outbound_queue WHERE status = 'processing' ORDER BY lease_until LIMIT $2) p
     WHERE 'sending' = ANY($1)
     UNION ALL
    SELECT 'queued', id, channel, tenant_id, thread_id, error_class
      FROM (SELECT * FROM et_outbound_queue WHERE status = 'queued' ORDER BY next_attempt_at, id LIMIT $2) q
     WHERE 'queued' = ANY($1)
)
SELECT kind, id
  FROM (SELECT kind, id, row_number() OVER (PARTITION BY kind ORDER BY id DESC) AS place
          FROM looked
         WHERE kind = ANY($1) AND ($4::text IS NULL OR channel = $4) AND ($5::bigint IS NULL OR tenant_id = $5)
           AND ($6::bigint IS NULL OR thread_id = $6) AND ($7::text IS NULL OR error_class = $7)) n
 WHERE place <= $3
 ORDER BY kind, id DESC
