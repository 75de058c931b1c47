-- Acts on one thing before an id, the newest first. $1 before  $2 begin of the act, or NULL  $3 actor, or NULL
-- $4 subject  $5 at most
SELECT id, at, actor, origin, act, subject, before, after, note FROM et_audit_log
 WHERE subject = $4 AND id < $1
   AND ($2::text IS NULL OR starts_with(act, $2)) AND ($3::text IS NULL OR actor = $3)
 ORDER BY id DESC
 LIMIT $5
