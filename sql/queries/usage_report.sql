-- Usage between $1 and $2 added up by $3: day, hour, model, provider, agent, tenant or task.
SELECT CASE $3 WHEN 'day' THEN to_char(date_trunc('day', u.hour), 'YYYY-MM-DD')
               WHEN 'hour' THEN to_char(u.hour, 'YYYY-MM-DD HH24:MI')
               WHEN 'model' THEN u.provider || ' ' || u.model
               WHEN 'provider' THEN u.provider
               WHEN 'agent' THEN CASE u.agent_id WHEN 0 THEN '(no agent)'
                                 ELSE coalesce(a.name, 'agent') || ' #' || u.agent_id END
               WHEN 'tenant' THEN coalesce(t.name, 'tenant') || ' #' || u.tenant_id
               ELSE u.task END AS name,
       sum(u.turns)::bigint AS turns, sum(u.unpriced)::bigint AS unpriced,
       sum(u.prompt_tokens)::bigint AS prompt_tokens, sum(u.completion_tokens)::bigint AS completion_tokens,
       sum(u.cost_usd)::float AS cost_usd
  FROM et_usage_hourly u
  LEFT JOIN et_agents a ON a.id = u.agent_id
  LEFT JOIN et_tenants t ON t.id = u.tenant_id
 WHERE u.hour >= date_trunc('hour', $1::timestamptz) AND u.hour < $2
 GROUP BY 1
 ORDER BY CASE WHEN $3 IN ('day', 'hour') THEN 0 ELSE sum(u.cost_usd) END DESC, 1
