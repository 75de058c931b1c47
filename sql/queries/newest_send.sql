-- The id of the newest send; no row when there is none.
SELECT id FROM et_outbound_queue ORDER BY id DESC LIMIT 1
