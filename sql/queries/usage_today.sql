-- Turns, tokens and cost of today (UTC), by provider and model.
SELECT provider, model, sum(turns)::bigint AS turns, sum(unpriced)::bigint AS unpriced,
       sum(prompt_tokens)::bigint AS prompt_tokens, sum(completion_tokens)::bigint AS completion_tokens,
       sum(cost_usd)::float AS cost_usd
  FROM et_usage_hourly
 WHERE hour >= date_trunc('day', now())
 GROUP BY provider, model
 ORDER BY cost_usd DESC, turns DESC, provider, model
