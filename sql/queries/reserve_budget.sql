-- Money is set aside before a call: today's spend and all running reservations must stay within the cap.
-- $1 tenant, whose row the caller has locked  $2 thread  $3 USD to reserve  $4 cap in USD  $5 token of the claim
WITH spent AS (
    SELECT coalesce(sum(cost_usd), 0) AS usd FROM et_usage_hourly
     WHERE tenant_id = $1 AND hour >= date_trunc('day', now())
),
reserved AS (
    SELECT coalesce(sum(reserved_usd), 0) AS usd FROM et_threads
     WHERE holder IS NOT NULL AND tenant_id = $1 AND id <> $2
),
granted AS (
    SELECT spent.usd AS spent, spent.usd + reserved.usd + $3::numeric <= $4::numeric AS ok FROM spent, reserved
),
noted AS (
    UPDATE et_threads SET reserved_usd = $3
     WHERE id = $2 AND holder IS NOT NULL AND claim_token = $5 AND (SELECT ok FROM granted)
)
SELECT ok, spent FROM granted
