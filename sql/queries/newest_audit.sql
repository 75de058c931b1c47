-- The id of the newest audit row; no row when there is none.
SELECT id FROM et_audit_log ORDER BY id DESC LIMIT 1
