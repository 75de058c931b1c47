-- When the newest messages came, by minute. $1 only ids above this  $2 messages to look at
SELECT date_trunc('minute', s.created_at) AS minute, count(*) FILTER (WHERE s.direction = 'inbound') AS inbound,
       count(*) FILTER (WHERE s.direction = 'outbound') AS outbound, max(s.id) AS newest
  FROM (SELECT id, created_at, direction FROM et_messages WHERE id > $1 ORDER BY id DESC LIMIT $2) s
 GROUP BY 1
 ORDER BY 1
