-- The latest of the recent conversations whose customer's name or address holds some words.
-- $1 pattern for ILIKE  $2 conversations to look at
SELECT r.id
  FROM (SELECT id, lead_id, address, last_message_at FROM et_threads
         WHERE last_message_at IS NOT NULL ORDER BY last_message_at DESC LIMIT $2) r
  LEFT JOIN et_leads l ON l.id = r.lead_id
 WHERE l.name ILIKE $1 OR r.address ILIKE $1
 ORDER BY r.last_message_at DESC
 LIMIT 1
