-- What each tenant has spent today (UTC) and may spend, those nearest to their cap first. $1 the engine's cap, or NULL
SELECT b.id AS tenant_id, b.name, b.paused, b.spent::float AS spent_usd, b.cap::float AS cap_usd
  FROM (SELECT n.id, n.name, n.paused, coalesce(sum(u.cost_usd), 0) AS spent,
               least(n.daily_budget_usd, $1::numeric,
                     (SELECT CASE WHEN jsonb_typeof(value) = 'number' THEN value::text::numeric END
                        FROM et_platform_settings WHERE key = 'daily_budget_usd')) AS cap
          FROM et_tenants n
          LEFT JOIN et_usage_hourly u ON u.tenant_id = n.id AND u.hour >= date_trunc('day', now())
         GROUP BY n.id) b
 ORDER BY CASE WHEN b.cap = 0 THEN 1 ELSE coalesce(b.spent / b.cap, 0) END DESC, b.spent DESC, b.id
 LIMIT 100
