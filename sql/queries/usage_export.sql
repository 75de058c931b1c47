-- Usage of one UTC day in full detail. $1 the day's beginning  $2 its end
SELECT u.hour, u.tenant_id, coalesce(t.name, '') AS tenant, u.agent_id, coalesce(a.name, '') AS agent, u.task,
       u.provider, u.model, sum(u.turns)::bigint AS turns, sum(u.unpriced)::bigint AS unpriced,
       sum(u.prompt_tokens)::bigint AS prompt_tokens, sum(u.completion_tokens)::bigint AS completion_tokens,
       sum(u.cost_usd)::text AS cost_usd
  FROM et_usage_hourly u
  LEFT JOIN et_tenants t ON t.id = u.tenant_id
  LEFT JOIN et_agents a ON a.id = u.agent_id
 WHERE u.hour >= $1 AND u.hour < $2
 GROUP BY u.hour, u.tenant_id, t.name, u.agent_id, a.name, u.task, u.provider, u.model
 ORDER BY u.hour, u.tenant_id, u.agent_id, u.task, u.provider, u.model
