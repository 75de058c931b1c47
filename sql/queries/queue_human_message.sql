-- Queue what a person says, and wake the dispatchers.
-- $1 message
WITH queued AS (
    INSERT INTO et_outbound_queue (message_id, tenant_id, thread_id, channel, account, author, thread_epoch)
    SELECT m.id, m.tenant_id, t.id, m.channel, m.account, 'human', t.epoch
      FROM et_messages m JOIN et_threads t ON t.id = m.thread_id
     WHERE m.id = $1
 RETURNING id
)
SELECT id, pg_notify('et_outbound', id::text) FROM queued
