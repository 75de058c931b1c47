-- A page of turns for an export, by id. $1 after this id  $2 up to this one  $3 finished since, or NULL
-- $4 finished before, or NULL  $5 channel, or NULL  $6 outcome, or NULL  $7 at most
SELECT id, tenant_id, thread_id, message_id, reply_message_id, replay_of, kind, outcome, reason, error, agent_id,
       agent_version, task, provider, model, prompt_tokens, completion_tokens, total_tokens, cost_usd, burst, engine,
       simulated, started_at, context_at, answered_at, finished_at, draft, attempts, verdicts, context, context_prompt
  FROM et_turns t
 WHERE id > $1 AND id <= $2
   AND ($3::timestamptz IS NULL OR finished_at >= $3) AND ($4::timestamptz IS NULL OR finished_at < $4)
   AND ($5::text IS NULL OR EXISTS (SELECT FROM et_threads h WHERE h.id = t.thread_id AND h.channel = $5))
   AND ($6::text IS NULL OR outcome = $6)
 ORDER BY id
 LIMIT $7
