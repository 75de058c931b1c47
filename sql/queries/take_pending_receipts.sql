-- Receipts that came before their sends were recorded, and whose messages are known by now.
WITH ready AS (
    DELETE FROM et_pending_receipts p
     USING et_messages m
     WHERE m.channel = p.channel AND m.direction = 'outbound' AND m.provider_message_id = p.provider_message_id
 RETURNING p.*
)
SELECT channel, account, provider_message_id, status, happened_at, error FROM ready
