-- T3: take queued sends that are due, the oldest of each thread only.
-- $1 engine  $2 sends at most  $3 lease, seconds  $4 channels to leave alone, as channel/account
WITH due AS MATERIALIZED (
    SELECT q.id
      FROM et_outbound_queue q
     WHERE q.status = 'queued' AND q.next_attempt_at <= now()
       -- Compared, not anti-joined: a look into the index of open sends for each row, whatever the statistics say.
       AND q.id = coalesce((
           SELECT e.id FROM et_outbound_queue e
            WHERE e.thread_id = q.thread_id AND e.status IN ('queued', 'processing', 'retry_scheduled')
            ORDER BY e.thread_id, e.id LIMIT 1), q.id)
       AND NOT (coalesce(q.channel, '') || '/' || q.account) = ANY ($4::text[])
     ORDER BY q.next_attempt_at, q.id
     LIMIT $2
       FOR UPDATE OF q SKIP LOCKED
),
claimed AS (
    UPDATE et_outbound_queue q
       SET status = 'processing', claimed_by = $1, claim_token = q.claim_token + 1, attempts = q.attempts + 1,
           lease_until = now() + make_interval(secs => $3), send_started_at = NULL, outcome = NULL,
           updated_at = now()
      FROM due WHERE q.id = due.id
 RETURNING q.id, q.message_id, q.claim_token, q.attempts, q.author, q.account
),
mirrored AS (
    UPDATE et_messages m SET delivery_status = 'processing', updated_at = now()
      FROM claimed c WHERE m.id = c.message_id
 RETURNING c.id AS queue_id, m.id AS message_id, c.claim_token AS token, c.attempts, c.author, m.tenant_id,
           m.thread_id, m.channel, c.account, m.text_content AS text, m.in_reply_to
)
SELECT s.queue_id, s.message_id, s.token, s.attempts, s.author, s.tenant_id, s.thread_id, s.channel, s.account, s.text,
       t.lead_id,
       coalesce(nullif(t.address, ''),
                (SELECT a.address FROM et_lead_addresses a
                  WHERE a.lead_id = t.lead_id AND a.tenant_id = s.tenant_id AND a.channel = s.channel
                  ORDER BY a.created_at LIMIT 1),
                CASE WHEN s.channel = 'simulator' THEN 'lead:' || t.lead_id END) AS address,
       t.last_inbound_at, now() AS claimed_at,
       i.provider_message_id AS reply_to
  FROM mirrored s
  LEFT JOIN et_threads t ON t.id = s.thread_id
  LEFT JOIN et_messages i ON i.id = s.in_reply_to
