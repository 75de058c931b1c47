-- The id of the newest message; no row when there is none.
SELECT id FROM et_messages ORDER BY id DESC LIMIT 1
