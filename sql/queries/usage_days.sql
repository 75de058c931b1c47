-- Usage by UTC day, tenant, agent, provider and model, the newest day first. $1 first day  $2 tenant, or NULL
SELECT date_trunc('day', u.hour) AS day, u.tenant_id, u.agent_id, a.name AS agent, u.task, u.provider, u.model,
       sum(u.turns)::bigint AS turns, sum(u.unpriced)::bigint AS unpriced,
       sum(u.prompt_tokens)::bigint AS prompt_tokens, sum(u.completion_tokens)::bigint AS completion_tokens,
       sum(u.cost_usd)::float AS cost_usd
  FROM et_usage_hourly u LEFT JOIN et_agents a ON a.id = u.agent_id
 WHERE u.hour >= $1 AND ($2::bigint IS NULL OR u.tenant_id = $2)
 GROUP BY 1, 2, 3, 4, 5, 6, 7
 ORDER BY 1 DESC, cost_usd DESC, turns DESC
 LIMIT 5000
