-- Sends that left, before an id, the newest first, among a stretch of ids. $1 before  $2 lowest id to look at
-- $3 channel, or NULL  $4 tenant, or NULL  $5 thread, or NULL  $6 at most
SELECT id FROM et_outbound_queue
 WHERE id < $1 AND id >= $2 AND status IN ('sent', 'accepted')
   AND ($3::text IS NULL OR channel = $3) AND ($4::bigint IS NULL OR tenant_id = $4)
   AND ($5::bigint IS NULL OR thread_id = $5)
 ORDER BY id DESC
 LIMIT $6
