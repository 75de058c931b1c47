-- Sends of unknown outcome among the newest failed ones, the oldest first. $1 failed ones to look at
SELECT id FROM (SELECT id, outcome FROM et_outbound_queue WHERE status = 'failed' ORDER BY id DESC LIMIT $1) f
 WHERE f.outcome = 'unknown'
 ORDER BY id
