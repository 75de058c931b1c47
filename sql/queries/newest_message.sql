-- The id of the newest message below $1; no row when there is none.
SELECT id FROM et_messages WHERE id < $1 ORDER BY id DESC LIMIT 1
