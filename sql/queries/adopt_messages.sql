-- Messages that came in while there was no trigger get their threads.
UPDATE et_messages
   SET thread_id = et_thread_for(tenant_id, lead_id, channel, account, raw_payload->>'from')
 WHERE id IN (SELECT id FROM et_messages
               WHERE direction = 'inbound' AND delivery_status = 'received' AND thread_id IS NULL
               ORDER BY id LIMIT 1000)
RETURNING id
