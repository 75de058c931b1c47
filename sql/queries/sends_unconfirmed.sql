-- Sends that left some time ago and of which no receipt of delivery has come, by account; at most $4 of each channel.
-- $1 channels with receipts  $2 seconds a receipt may take  $3 seconds to look back  $4 most to count
SELECT s.channel, s.account, count(*)::integer AS count,
       extract(epoch FROM now() - min(s.sent_at))::float AS oldest_seconds
  FROM unnest($1::text[]) AS c(channel)
 CROSS JOIN LATERAL (
       SELECT channel, account, sent_at FROM et_messages
        WHERE channel = c.channel AND direction = 'outbound' AND delivered_at IS NULL
          AND delivery_status IN ('accepted', 'sent') AND send_started_at IS NOT NULL
          AND sent_at BETWEEN now() - make_interval(secs => $3) AND now() - make_interval(secs => $2)
        ORDER BY channel, sent_at
        LIMIT $4) s
 GROUP BY s.channel, s.account
