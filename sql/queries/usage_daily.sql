-- Usage by UTC day since $1.
SELECT to_char(date_trunc('day', hour), 'YYYY-MM-DD') AS name, sum(turns)::bigint AS turns,
       sum(unpriced)::bigint AS unpriced, sum(prompt_tokens)::bigint AS prompt_tokens,
       sum(completion_tokens)::bigint AS completion_tokens, sum(cost_usd)::float AS cost_usd
  FROM et_usage_hourly
 WHERE hour >= $1
 GROUP BY date_trunc('day', hour)
