-- Locks the threads of sends, in the order of their ids, for the rest of the transaction.
-- $1 sends
SELECT t.id FROM et_threads t
 WHERE t.id IN (SELECT thread_id FROM et_outbound_queue WHERE id = ANY ($1::bigint[]))
 ORDER BY t.id
   FOR UPDATE
