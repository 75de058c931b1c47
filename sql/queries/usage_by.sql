-- Usage between $1 and $2, added up in several ways at once; `way` names them: model, provider, agent, tenant, task.
WITH used AS (
    SELECT provider, model, agent_id, tenant_id, task, sum(turns) AS turns, sum(unpriced) AS unpriced,
           sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens, sum(cost_usd) AS cost_usd
      FROM et_usage_hourly
     WHERE hour >= $1 AND hour < $2
     GROUP BY provider, model, agent_id, tenant_id, task
),
sums AS (
    SELECT provider, model, agent_id, tenant_id, task,
           CASE WHEN grouping(model) = 0 THEN 'model' WHEN grouping(provider) = 0 THEN 'provider'
                WHEN grouping(agent_id) = 0 THEN 'agent' WHEN grouping(tenant_id) = 0 THEN 'tenant' ELSE 'task' END AS way,
           sum(turns)::bigint AS turns, sum(unpriced)::bigint AS unpriced,
           sum(prompt_tokens)::bigint AS prompt_tokens, sum(completion_tokens)::bigint AS completion_tokens,
           sum(cost_usd)::float AS cost_usd
      FROM used
     GROUP BY GROUPING SETS ((provider, model), (provider), (agent_id), (tenant_id), (task))
)
SELECT s.way,
       CASE s.way WHEN 'model' THEN s.provider || ' ' || s.model
                  WHEN 'provider' THEN s.provider
                  WHEN 'agent' THEN CASE s.agent_id WHEN 0 THEN '(no agent)'
                                    ELSE coalesce(a.name, 'agent ' || s.agent_id) END
                  WHEN 'tenant' THEN coalesce(t.name, 'tenant ' || s.tenant_id) ELSE s.task END AS name,
       s.turns, s.unpriced, s.prompt_tokens, s.completion_tokens, s.cost_usd
  FROM sums s
  LEFT JOIN et_agents a ON s.way = 'agent' AND a.id = s.agent_id
  LEFT JOIN et_tenants t ON s.way = 'tenant' AND t.id = s.tenant_id
 ORDER BY s.way, s.cost_usd DESC, s.turns DESC, name
