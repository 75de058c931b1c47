-- Messages that came in while there was no trigger, or whose thread is not theirs, get their threads.
-- The look-up by key in the condition keeps the planner from reading all threads for a join.
UPDATE et_messages
   SET thread_id = et_thread_for(tenant_id, lead_id, channel, account, raw_payload->>'from')
 WHERE id = ANY (ARRAY(
       SELECT m.id FROM et_messages m
        WHERE m.direction = 'inbound' AND m.delivery_status = 'received'
          AND NOT coalesce((SELECT t.tenant_id = m.tenant_id AND t.channel = m.channel AND t.account = m.account
                              FROM et_threads t WHERE t.id = m.thread_id), false)
        ORDER BY m.id LIMIT 1000))
RETURNING id
