-- Conversations that people answer, those in which the customer waits first. $1 at most
SELECT t.id
  FROM (SELECT id, last_inbound_at, last_message_at FROM et_threads
         WHERE owner = 'human' ORDER BY owner_since DESC LIMIT $1) t
 ORDER BY t.last_inbound_at IS NOT NULL AND t.last_inbound_at >= coalesce(t.last_message_at, t.last_inbound_at) DESC,
          t.last_inbound_at, t.id
