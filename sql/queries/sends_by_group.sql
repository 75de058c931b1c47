-- Sends by what a person makes of them. $1 groups  $2 rows of a status to look at, at most  $3 of each group at most
-- $4 failed ones before this id  $5 channel, or NULL  $6 tenant, or NULL  $7 thread, or NULL  $8 error class, or NULL
-- Failed ones come with the newest first, the others in the order in which they are taken. Every ORDER BY names its
-- index's own order, so that a look ends as soon as it has enough, and no statistics make it read history. Of what
-- failed, the index tells the kind: only rows of the kind wanted are read.
(SELECT 'unknown' AS kind, f.id
  FROM (SELECT id, outcome FROM et_outbound_queue WHERE status = 'failed' AND id < $4 ORDER BY id DESC LIMIT $2) f
 CROSS JOIN LATERAL (SELECT * FROM et_outbound_queue WHERE id = f.id LIMIT 1) q
 WHERE 'unknown' = ANY($1) AND f.outcome = 'unknown'
   AND ($5::text IS NULL OR q.channel = $5) AND ($6::bigint IS NULL OR q.tenant_id = $6)
   AND ($7::bigint IS NULL OR q.thread_id = $7) AND ($8::text IS NULL OR q.error_class = $8)
 ORDER BY f.id DESC LIMIT $3)
 UNION ALL
(SELECT 'failed' AS kind, f.id
  FROM (SELECT id, outcome FROM et_outbound_queue WHERE status = 'failed' AND id < $4 ORDER BY id DESC LIMIT $2) f
 CROSS JOIN LATERAL (SELECT * FROM et_outbound_queue WHERE id = f.id LIMIT 1) q
 WHERE 'failed' = ANY($1) AND f.outcome IS DISTINCT FROM 'unknown' AND f.outcome IS DISTINCT FROM 'cancelled'
   AND ($5::text IS NULL OR q.channel = $5) AND ($6::bigint IS NULL OR q.tenant_id = $6)
   AND ($7::bigint IS NULL OR q.thread_id = $7) AND ($8::text IS NULL OR q.error_class = $8)
 ORDER BY f.id DESC LIMIT $3)
 UNION ALL
(SELECT 'cancelled' AS kind, f.id
  FROM (SELECT id, outcome FROM et_outbound_queue WHERE status = 'failed' AND id < $4 ORDER BY id DESC LIMIT $2) f
 CROSS JOIN LATERAL (SELECT * FROM et_outbound_queue WHERE id = f.id LIMIT 1) q
 WHERE 'cancelled' = ANY($1) AND f.outcome = 'cancelled'
   AND ($5::text IS NULL OR q.channel = $5) AND ($6::bigint IS NULL OR q.tenant_id = $6)
   AND ($7::bigint IS NULL OR q.thread_id = $7) AND ($8::text IS NULL OR q.error_class = $8)
 ORDER BY f.id DESC LIMIT $3)
 UNION ALL
(SELECT 'retry', id
  FROM (SELECT * FROM et_outbound_queue WHERE status = 'retry_scheduled' ORDER BY next_attempt_at LIMIT $2) f
 WHERE 'retry' = ANY($1)
   AND ($5::text IS NULL OR channel = $5) AND ($6::bigint IS NULL OR tenant_id = $6)
   AND ($7::bigint IS NULL OR thread_id = $7) AND ($8::text IS NULL OR error_class = $8)
 ORDER BY next_attempt_at LIMIT $3)
 UNION ALL
(SELECT 'sending', id
  FROM (SELECT * FROM et_outbound_queue WHERE status = 'processing' ORDER BY lease_until LIMIT $2) f
 WHERE 'sending' = ANY($1)
   AND ($5::text IS NULL OR channel = $5) AND ($6::bigint IS NULL OR tenant_id = $6)
   AND ($7::bigint IS NULL OR thread_id = $7) AND ($8::text IS NULL OR error_class = $8)
 ORDER BY lease_until LIMIT $3)
 UNION ALL
(SELECT 'queued', id
  FROM (SELECT * FROM et_outbound_queue WHERE status = 'queued' ORDER BY next_attempt_at, id LIMIT $2) f
 WHERE 'queued' = ANY($1)
   AND ($5::text IS NULL OR channel = $5) AND ($6::bigint IS NULL OR tenant_id = $6)
   AND ($7::bigint IS NULL OR thread_id = $7) AND ($8::text IS NULL OR error_class = $8)
 ORDER BY next_attempt_at, id LIMIT $3)
