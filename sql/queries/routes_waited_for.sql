-- Those of some accounts that sends wait for or are under way to.  $1 accounts, as channel/account
SELECT DISTINCT channel || '/' || account AS route
  FROM et_outbound_queue
 WHERE status IN ('queued', 'processing', 'retry_scheduled') AND channel || '/' || account = ANY($1::text[])
