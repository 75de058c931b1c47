-- What each tenant has spent today (UTC) and may spend, those nearest to their cap first. $1 the engine's cap, or NULL
SELECT n.id AS tenant_id, n.name, n.paused, coalesce(sum(u.cost_usd), 0)::float AS spent_usd,
       least(n.daily_budget_usd, $1::numeric,
             (SELECT CASE WHEN jsonb_typeof(value) = 'number' THEN value::text::numeric END
                FROM et_platform_settings WHERE key = 'daily_budget_usd'))::float AS cap_usd
  FROM et_tenants n
  LEFT JOIN et_usage_hourly u ON u.tenant_id = n.id AND u.hour >= date_trunc('day', now())
 GROUP BY n.id
 ORDER BY coalesce(coalesce(sum(u.cost_usd), 0)
                   / nullif(least(n.daily_budget_usd, $1::numeric), 0), 0) DESC, spent_usd DESC, n.id
 LIMIT 100
