-- One row of the audit log.
-- $1 actor  $2 origin  $3 act  $4 subject  $5 before  $6 after (JSON)  $7 note
INSERT INTO et_audit_log (actor, origin, act, subject, before, after, note)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6::text::jsonb, $7)
RETURNING id
