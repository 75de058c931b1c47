-- Each provider's account: the newest answer, the newest balance, and what it lost in the seven days before $1.
-- What was put on it in that time is left out: only what went is added up.
WITH answers AS (
    SELECT provider, hour, asked_at, state, problem, balance_usd, told_at,
           row_number() OVER (PARTITION BY provider ORDER BY hour DESC) AS nth
      FROM et_provider_balances
     WHERE state <> 'asked'
),
told AS (
    SELECT provider, told_at, balance_usd,
           lag(balance_usd) OVER (PARTITION BY provider ORDER BY hour) - balance_usd AS lost
      FROM answers WHERE told_at > $1::timestamptz - interval '7 days'
),
pace AS (
    SELECT provider, coalesce(sum(greatest(lost, 0)), 0)::float AS lost_usd,
           extract(epoch FROM max(told_at) - min(told_at))::float / 86400 AS lost_days
      FROM told WHERE balance_usd IS NOT NULL GROUP BY provider
),
used AS (
    SELECT provider, sum(cost_usd)::float AS used_usd, extract(epoch FROM $1::timestamptz - min(hour))::float / 86400 AS used_days
      FROM et_usage_hourly WHERE hour > $1::timestamptz - interval '7 days' GROUP BY provider
),
newest AS (
    SELECT DISTINCT ON (provider) provider, balance_usd, told_at
      FROM answers WHERE told_at IS NOT NULL ORDER BY provider, hour DESC
)
SELECT a.provider, a.state, a.problem, a.asked_at, n.balance_usd::float AS balance_usd, n.told_at,
       p.lost_usd, p.lost_days, u.used_usd, u.used_days
  FROM answers a
  LEFT JOIN newest n USING (provider)
  LEFT JOIN pace p USING (provider)
  LEFT JOIN used u USING (provider)
 WHERE a.nth = 1
 ORDER BY a.provider
