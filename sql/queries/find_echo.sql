-- The message of ours that a message from our own account is the echo of, if it is one.
-- $1 thread  $2 channel  $3 the provider's id, or NULL  $4 text  $5 whether the provider says a hand typed it
-- The echo can overtake the answer to the send itself, and a long text comes back in parts: then the text tells.
SELECT id FROM et_messages
 WHERE channel = $2 AND direction = 'outbound' AND provider_message_id = $3
UNION ALL
(SELECT m.id
   FROM (SELECT id, text_content FROM et_messages
          WHERE thread_id = $1 AND direction = 'outbound' ORDER BY id DESC LIMIT 20) m
   JOIN et_outbound_queue q ON q.message_id = m.id
  WHERE q.other_provider_ids ? $3
     OR (NOT $5 AND q.send_started_at > now() - interval '2 minutes'
         AND (btrim(m.text_content) = btrim($4)
              OR (length($4) >= 100 AND position(btrim($4) IN m.text_content) > 0))))
LIMIT 1
