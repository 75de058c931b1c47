-- Heals what no claim can see: open messages of threads that do not know of them, and messages in
-- processing whose thread nobody holds (left by a program without mailboxes).
-- Look-ups by key in conditions, and the arrays, keep the planner from reading all threads for a join.
WITH orphans AS (
    UPDATE et_messages m
       SET delivery_status = 'received', turn_head_id = NULL, lease_until = NULL, updated_at = now(),
           reason = CASE WHEN m.reason IN ('replay', 'handed_back') THEN m.reason ELSE 'orphaned' END
     WHERE m.direction = 'inbound' AND m.delivery_status = 'inbound_processing'
       AND NOT coalesce((SELECT t.holder IS NOT NULL FROM et_threads t WHERE t.id = m.thread_id), false)
 RETURNING m.thread_id
),
unaware AS (
    SELECT o.thread_id
      FROM (SELECT thread_id FROM orphans
             UNION SELECT thread_id FROM et_messages
                    WHERE direction = 'inbound' AND delivery_status = 'received') o
     WHERE (SELECT t.due_at IS NULL AND t.holder IS NULL FROM et_threads t WHERE t.id = o.thread_id)
)
UPDATE et_threads t SET due_at = now(), burst_started_at = now()
 WHERE t.due_at IS NULL AND t.holder IS NULL AND t.id = ANY (ARRAY(SELECT thread_id FROM unaware))
RETURNING t.id
