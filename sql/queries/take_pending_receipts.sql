-- Receipts that came before their sends were recorded, and whose sends are recorded by now.
-- Those that nothing has claimed within a day are of messages that are not ours; they are forgotten.
-- Each is looked up by the indexes: OFFSET 0 keeps the planner from reading the tables from end to end instead.
WITH named AS MATERIALIZED (
    SELECT p.id, m.id AS message_id
      FROM et_pending_receipts p
     CROSS JOIN LATERAL (
           SELECT id FROM et_messages
            WHERE channel = p.channel AND direction = 'outbound' AND provider_message_id = p.provider_message_id
           OFFSET 0) m
     UNION ALL
    SELECT p.id, m.id
      FROM et_pending_receipts p
     CROSS JOIN LATERAL (
           SELECT id FROM et_messages
            WHERE id = p.message_id AND channel = p.channel AND direction = 'outbound'
              AND provider_message_id IS NULL AND et_sent_through(channel, account, p.account)
           OFFSET 0) m
     UNION ALL
    SELECT p.id, q.message_id
      FROM et_pending_receipts p
     CROSS JOIN LATERAL (
           SELECT message_id FROM et_outbound_queue
            WHERE other_provider_ids ? p.provider_message_id AND other_provider_ids IS NOT NULL
              AND channel = p.channel
           OFFSET 0) q
),
ready AS MATERIALIZED (
    SELECT named.id FROM named
     WHERE NOT EXISTS (SELECT FROM et_outbound_queue q
                        WHERE q.message_id = named.message_id AND q.status = 'processing')
),
taken AS (
    DELETE FROM et_pending_receipts p
     WHERE p.id IN (SELECT id FROM ready)
        OR (p.at < now() - interval '1 day' AND p.id NOT IN (SELECT id FROM named))
 RETURNING p.*
)
SELECT channel, account, provider_message_id, message_id, status, happened_at, error, hand_over FROM taken
 WHERE id IN (SELECT id FROM ready)
