-- The queue row of an outbound message. $1 message
SELECT * FROM et_outbound_queue WHERE message_id = $1
