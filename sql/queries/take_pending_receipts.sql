-- Receipts that came before their sends were recorded, and whose sends are recorded by now.
WITH ready AS (
    DELETE FROM et_pending_receipts p
     USING et_messages m LEFT JOIN et_outbound_queue q ON q.message_id = m.id
     WHERE m.channel = p.channel AND m.direction = 'outbound'
       AND (m.provider_message_id = p.provider_message_id OR m.id = p.message_id)
       AND q.status IS DISTINCT FROM 'processing'
 RETURNING p.*
)
SELECT channel, account, provider_message_id, message_id, status, happened_at, error FROM ready
