-- Money is set aside before a call: today's spend and all running reservations must stay within the cap.
-- $1 tenant  $2 thread  $3 USD to reserve  $4 the platform's daily cap in USD, or NULL
-- The tenant's row is the lock, so that two engines cannot both take the last cent.
WITH tenant AS (
    SELECT id, least(daily_budget_usd, $4::numeric) AS cap FROM et_tenants WHERE id = $1 FOR NO KEY UPDATE
),
spent AS (
    SELECT coalesce(sum(u.cost_usd), 0) AS usd FROM et_usage_hourly u, tenant
     WHERE u.tenant_id = tenant.id AND u.hour >= date_trunc('day', now())
),
reserved AS (
    SELECT coalesce(sum(t.reserved_usd), 0) AS usd FROM et_threads t, tenant
     WHERE t.holder IS NOT NULL AND t.tenant_id = tenant.id AND t.id <> $2
),
granted AS (
    SELECT tenant.cap, spent.usd AS spent,
           tenant.cap IS NULL OR spent.usd + reserved.usd + $3::numeric <= tenant.cap AS ok
      FROM tenant, spent, reserved
),
noted AS (
    UPDATE et_threads SET reserved_usd = $3 WHERE id = $2 AND (SELECT ok FROM granted)
)
SELECT ok, cap, spent FROM granted
