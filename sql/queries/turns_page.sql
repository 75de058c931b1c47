-- Turns before an id, the newest first. $1 before  $2 at most
SELECT t.id, t.tenant_id, t.thread_id, t.message_id, t.reply_message_id, t.kind, t.outcome, t.reason, t.error,
       t.provider, t.model, t.total_tokens, t.cost_usd::float AS cost_usd, t.burst, t.engine, t.simulated,
       t.started_at, t.answered_at, t.finished_at, jsonb_array_length(
           CASE WHEN jsonb_typeof(t.attempts) = 'array' THEN t.attempts ELSE '[]' END) AS calls
  FROM et_turns t WHERE t.id < $1 ORDER BY t.id DESC LIMIT $2
