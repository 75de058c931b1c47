-- Acts of operators before an id, the newest first. $1 before  $2 lowest id to look at  $3 begin of the act, or NULL
-- $4 actor, or NULL  $5 at most
SELECT id, at, actor, origin, act, subject, before, after, note FROM et_audit_log
 WHERE id < $1 AND id >= $2 AND ($3::text IS NULL OR starts_with(act, $3))
   AND ($4::text IS NULL OR actor = $4)
 ORDER BY id DESC
 LIMIT $5
