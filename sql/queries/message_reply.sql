-- The AI's reply to a message. $1 the message, or the head of its burst
SELECT id FROM et_messages
 WHERE in_reply_to = $1 AND direction = 'outbound' AND author = 'ai' AND in_reply_to IS NOT NULL
