-- A page of operators' acts for an export, by id. $1 after this id  $2 up to this one  $3 since, or NULL
-- $4 before, or NULL  $5, $6 channel and status: an act has neither, so none matches  $7 at most
SELECT id, at, actor, origin, act, subject, before, after, note
  FROM et_audit_log
 WHERE id > $1 AND id <= $2
   AND ($3::timestamptz IS NULL OR at >= $3) AND ($4::timestamptz IS NULL OR at < $4)
   AND $5::text IS NULL AND $6::text IS NULL
 ORDER BY id
 LIMIT $7
