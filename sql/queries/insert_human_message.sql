-- What a person says to the customer. The caller has locked the thread.
-- $1 thread  $2 text  $3 status  $4 raw payload, JSON  $5 the provider's id  $6 the provider's time
INSERT INTO et_messages (
       tenant_id, lead_id, thread_id, channel, account, direction, author, text_content, raw_payload,
       delivery_status, provider_message_id, provider_timestamp, sent_at)
SELECT tenant_id, lead_id, id, channel, account, 'outbound', 'human', $2, $4::text::jsonb,
       $3::text, $5, $6::timestamptz, CASE $3::text WHEN 'sent' THEN now() END
  FROM et_threads WHERE id = $1
RETURNING id
