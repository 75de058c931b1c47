-- By tenant: what is set aside for turns under way, and what the last 24 hours cost and in how many of them it was spent.
SELECT coalesce(p.tenant_id, r.tenant_id) AS tenant_id, coalesce(r.usd, 0)::float AS reserved_usd,
       coalesce(p.usd, 0)::float AS day_usd,
       extract(epoch FROM now() - p.since)::float / 3600 AS hours
  FROM (SELECT tenant_id, sum(cost_usd) AS usd, min(hour) AS since
          FROM et_usage_hourly WHERE hour > now() - interval '24 hours' GROUP BY tenant_id) p
  FULL JOIN (SELECT tenant_id, sum(reserved_usd) AS usd
               FROM et_threads WHERE holder IS NOT NULL GROUP BY tenant_id) r ON r.tenant_id = p.tenant_id
