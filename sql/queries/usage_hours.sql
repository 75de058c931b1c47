-- Usage by hour since $1.
SELECT hour, sum(turns)::bigint AS turns, sum(unpriced)::bigint AS unpriced,
       sum(prompt_tokens)::bigint AS prompt_tokens, sum(completion_tokens)::bigint AS completion_tokens,
       sum(cost_usd)::float AS cost_usd
  FROM et_usage_hourly
 WHERE hour >= $1
 GROUP BY hour
 ORDER BY hour
