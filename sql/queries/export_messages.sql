-- A page of messages for an export, by id. $1 after this id  $2 up to this one  $3 since, or NULL  $4 before, or NULL
-- $5 channel, or NULL  $6 status, or NULL  $7 at most  $8 only these ids, or NULL
SELECT id, tenant_id, lead_id, thread_id, channel, account, direction, author, text_content, delivery_status, reason,
       last_error, attempts, turn_head_id, in_reply_to, provider_message_id, provider_timestamp, created_at, updated_at,
       claimed_at, replied_at, send_started_at, sent_at, delivered_at, read_at, llm_provider, llm_model,
       llm_prompt_tokens, llm_completion_tokens, llm_total_tokens, llm_estimated_cost_usd, raw_payload
  FROM et_messages
 WHERE id > $1 AND id <= $2
   AND ($3::timestamptz IS NULL OR created_at >= $3) AND ($4::timestamptz IS NULL OR created_at < $4)
   AND ($5::text IS NULL OR channel = $5) AND ($6::text IS NULL OR delivery_status = $6)
   AND ($8::bigint[] IS NULL OR id = ANY($8))
 ORDER BY id
 LIMIT $7
