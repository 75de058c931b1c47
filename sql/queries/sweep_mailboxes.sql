-- Heals what no claim can see: open messages of threads that do not know of them, and messages in
-- processing whose thread nobody holds (left by a program without mailboxes).
WITH orphans AS (
    UPDATE et_messages m
       SET delivery_status = 'received', reason = 'orphaned', turn_head_id = NULL, lease_until = NULL,
           updated_at = now()
     WHERE m.direction = 'inbound' AND m.delivery_status = 'inbound_processing'
       AND NOT EXISTS (SELECT FROM et_threads t WHERE t.id = m.thread_id AND t.holder IS NOT NULL)
 RETURNING m.thread_id
)
UPDATE et_threads t SET due_at = now(), burst_started_at = now()
 WHERE t.due_at IS NULL AND t.holder IS NULL
   AND t.id IN (SELECT thread_id FROM orphans
                UNION SELECT thread_id FROM et_messages
                       WHERE direction = 'inbound' AND delivery_status = 'received')
RETURNING t.id
