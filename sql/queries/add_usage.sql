-- Usage that no turn stands for, such as test calls. $1 tenant  $2 task  $3 provider  $4 model
-- $5 prompt tokens  $6 completion tokens  $7 USD, NULL: unpriced
INSERT INTO et_usage_hourly AS u (
       hour, tenant_id, agent_id, task, provider, model, turns, unpriced, prompt_tokens, completion_tokens, cost_usd)
VALUES (date_trunc('hour', now()), $1, 0, $2, $3, $4, 1, ($7::numeric IS NULL)::integer, coalesce($5::bigint, 0),
        coalesce($6::bigint, 0), coalesce($7::numeric, 0))
    ON CONFLICT (hour, tenant_id, agent_id, task, provider, model, shard) DO UPDATE
   SET turns = u.turns + 1,
       unpriced = u.unpriced + excluded.unpriced,
       prompt_tokens = u.prompt_tokens + excluded.prompt_tokens,
       completion_tokens = u.completion_tokens + excluded.completion_tokens,
       cost_usd = u.cost_usd + excluded.cost_usd
