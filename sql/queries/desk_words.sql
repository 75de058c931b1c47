-- The labels and operators that are in use, most used first, among the latest conversations that have any.
-- $1 conversations to look at, each way
SELECT (SELECT coalesce(json_agg(label ORDER BY used DESC, label), '[]')
          FROM (SELECT label, count(*) AS used
                  FROM (SELECT labels FROM et_threads WHERE labels <> '[]'::jsonb
                         ORDER BY last_message_at DESC LIMIT $1) t
                 CROSS JOIN LATERAL jsonb_array_elements_text(t.labels) AS e(label)
                 GROUP BY label) l) AS labels,
       (SELECT coalesce(json_agg(operator ORDER BY used DESC, operator), '[]')
          FROM (SELECT operator, count(*) AS used
                  FROM (SELECT operator FROM et_threads WHERE operator IS NOT NULL
                         ORDER BY last_message_at DESC LIMIT $1) t
                 GROUP BY operator) o) AS operators
