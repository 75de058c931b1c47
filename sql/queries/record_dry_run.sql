-- The record of a dry run or of a draft that was asked for, which costs real money: a turn that answers nobody,
-- and its usage.
-- $1 the turn, a JSON object (see rehearsal.Rehearsed)
WITH d AS MATERIALIZED (
    SELECT * FROM jsonb_to_record($1::text::jsonb) AS d(
        tenant_id bigint, thread_id bigint, message_id bigint, kind text, outcome text, reason text,
        error text, agent_id bigint,
        agent_version integer, task text, provider text, model text, attempts jsonb, verdicts jsonb, context jsonb,
        context_prompt text, draft text, prompt_tokens integer, completion_tokens integer, total_tokens integer,
        cost_usd numeric, burst integer, simulated boolean, started_at timestamptz, context_at timestamptz,
        answered_at timestamptz)
),
used AS (
    INSERT INTO et_usage_hourly AS u (
           hour, tenant_id, agent_id, task, provider, model, turns, unpriced, prompt_tokens, completion_tokens,
           cost_usd)
    SELECT date_trunc('hour', now()), tenant_id, coalesce(agent_id, 0), task, provider, model, 1,
           (cost_usd IS NULL)::integer, coalesce(prompt_tokens, 0), coalesce(completion_tokens, 0),
           coalesce(cost_usd, 0)
      FROM d WHERE provider IS NOT NULL
        ON CONFLICT (hour, tenant_id, agent_id, task, provider, model, shard) DO UPDATE
       SET turns = u.turns + 1,
           unpriced = u.unpriced + excluded.unpriced,
           prompt_tokens = u.prompt_tokens + excluded.prompt_tokens,
           completion_tokens = u.completion_tokens + excluded.completion_tokens,
           cost_usd = u.cost_usd + excluded.cost_usd
)
INSERT INTO et_turns (
       tenant_id, thread_id, message_id, replay_of, kind, outcome, reason, error, agent_id, agent_version, task,
       provider, model, attempts, verdicts, context, context_prompt, draft, prompt_tokens, completion_tokens,
       total_tokens, cost_usd, burst, simulated, started_at, context_at, answered_at)
SELECT tenant_id, thread_id, message_id,
       (SELECT max(t.id) FROM et_turns t WHERE t.message_id = d.message_id AND t.kind <> 'dry_run'),
       coalesce(kind, 'dry_run'), coalesce(outcome, 'dry_run'), reason, error, agent_id, agent_version, task, provider, model,
       coalesce(attempts, '[]'), coalesce(verdicts, '[]'), coalesce(context, '{}'), context_prompt, draft,
       prompt_tokens, completion_tokens, total_tokens, cost_usd, burst, coalesce(simulated, false), started_at,
       context_at, answered_at
  FROM d
RETURNING id, replay_of
