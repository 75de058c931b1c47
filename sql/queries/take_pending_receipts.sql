-- Receipts that came before their sends were recorded, and whose sends are recorded by now.
-- Those that nothing has claimed within a day are of messages that are not ours; they are forgotten.
WITH named AS MATERIALIZED (
    SELECT p.id, m.id AS message_id
      FROM et_pending_receipts p
      JOIN et_messages m ON m.channel = p.channel AND m.direction = 'outbound'
                        AND m.provider_message_id = p.provider_message_id
     UNION ALL
    SELECT p.id, m.id
      FROM et_pending_receipts p
      JOIN et_messages m ON m.id = p.message_id AND m.channel = p.channel AND m.direction = 'outbound'
                        AND m.provider_message_id IS NULL
     UNION ALL
    SELECT p.id, q.message_id
      FROM et_pending_receipts p
      JOIN et_outbound_queue q ON q.other_provider_ids ? p.provider_message_id AND q.channel = p.channel
                              AND q.other_provider_ids IS NOT NULL
),
ready AS MATERIALIZED (
    SELECT named.id FROM named LEFT JOIN et_outbound_queue q ON q.message_id = named.message_id
     WHERE q.status IS DISTINCT FROM 'processing'
),
taken AS (
    DELETE FROM et_pending_receipts p
     WHERE p.id IN (SELECT id FROM ready)
        OR (p.at < now() - interval '1 day' AND p.id NOT IN (SELECT id FROM named))
 RETURNING p.*
)
SELECT channel, account, provider_message_id, message_id, status, happened_at, error, hand_over FROM taken
 WHERE id IN (SELECT id FROM ready)
