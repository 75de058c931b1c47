-- How many replies the AI wrote in a thread before a message and since a time, counted up to a number.
-- $1 thread  $2 message  $3 since  $4 at most
SELECT count(*) AS replies
  FROM (SELECT created_at FROM et_messages
         WHERE thread_id = $1 AND id < $2 AND direction = 'outbound' AND delivery_status <> 'failed'
           AND (author = 'ai' OR (author IS NULL AND llm_provider IS NOT NULL))
         ORDER BY id DESC LIMIT $4) r
 WHERE created_at > $3
