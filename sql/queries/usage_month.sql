-- What each tenant has spent this month (UTC), and at what pace in the last seven days; `days` of them it used any.
SELECT tenant_id, coalesce(sum(cost_usd) FILTER (WHERE hour >= date_trunc('month', now())), 0)::float AS month_usd,
       coalesce(sum(cost_usd) FILTER (WHERE hour > now() - interval '7 days'), 0)::float AS week_usd,
       coalesce(extract(epoch FROM now() - min(hour) FILTER (WHERE hour > now() - interval '7 days'))::float / 86400, 0)
           AS days,
       extract(epoch FROM date_trunc('month', now()) + interval '1 month' - now())::float / 86400 AS days_left
  FROM et_usage_hourly
 WHERE hour >= least(date_trunc('month', now()), now() - interval '7 days')
 GROUP BY tenant_id
