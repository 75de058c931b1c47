-- Every turn that was run for an inbound message, the oldest first. $1 the message, or the head of its burst
SELECT t.*, v.name AS agent_name
  FROM et_turns t LEFT JOIN et_agents v ON v.id = t.agent_id
 WHERE t.message_id = $1
 ORDER BY t.id
 LIMIT 50
