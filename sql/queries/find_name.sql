-- The latest of the recent conversations whose customer's name or address holds some words.
-- $1 pattern for ILIKE  $2 conversations to look at
-- The LIMIT 1 of a look-up by key keeps the planner from reading the whole table for a join.
SELECT r.id
  FROM (SELECT id, lead_id, address, last_message_at FROM et_threads
         WHERE last_message_at IS NOT NULL ORDER BY last_message_at DESC LIMIT $2) r
  LEFT JOIN LATERAL (SELECT name FROM et_leads WHERE id = r.lead_id LIMIT 1) l ON true
 WHERE l.name ILIKE $1 OR r.address ILIKE $1
 ORDER BY r.last_message_at DESC
 LIMIT 1
