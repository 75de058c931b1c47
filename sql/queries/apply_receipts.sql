-- Receipts: delivered and read only ever move forward; one that comes before its send is recorded waits.
-- $1 receipts, a JSON array: channel, account, provider_message_id, message_id (ours, if the far end tells it),
-- status (sent, delivered, read, failed), happened_at, error, hand_over
-- Our id counts only while the far end's is not known: later it may be the receipt of an earlier try. It is easily
-- guessed, so it counts only from the account that sent the message.
-- Of a long text's earlier parts only a failure counts: then the customer has not got the whole.
WITH d AS MATERIALIZED (
    SELECT row_number() OVER () AS n, d.channel, d.account, d.provider_message_id, d.message_id, d.status,
           coalesce(d.happened_at, now()) AS happened_at, d.error, d.hand_over
      FROM jsonb_to_recordset($1::text::jsonb) AS d(
        channel text, account text, provider_message_id text, message_id bigint, status text,
        happened_at timestamptz, error text, hand_over boolean)
),
named AS MATERIALIZED (
    SELECT d.n, m.id, false AS part
      FROM d JOIN et_messages m ON m.channel = d.channel AND m.direction = 'outbound'
                               AND m.provider_message_id = d.provider_message_id
     UNION ALL
    SELECT d.n, m.id, false
      FROM d JOIN et_messages m ON m.id = d.message_id AND m.channel = d.channel AND m.direction = 'outbound'
                               AND m.provider_message_id IS NULL AND et_sent_through(m.channel, m.account, d.account)
     UNION ALL
    SELECT d.n, q.message_id, true
      FROM d CROSS JOIN LATERAL (
           SELECT message_id FROM et_outbound_queue
            WHERE other_provider_ids ? d.provider_message_id AND other_provider_ids IS NOT NULL
              AND channel = d.channel
           OFFSET 0) q  -- by the index, one by one: how common an id is, the planner cannot tell
),
known AS MATERIALIZED (
    SELECT DISTINCT ON (d.n) d.*, named.id AS found, named.part
      FROM d JOIN named ON named.n = d.n
      LEFT JOIN et_outbound_queue q ON q.message_id = named.id
     WHERE q.status IS DISTINCT FROM 'processing'  -- the send's own answer is recorded first
     ORDER BY d.n, named.part, named.id
),
news AS MATERIALIZED (
    SELECT found, max(channel || '/' || coalesce(account, 'default')) AS route,
           max(provider_message_id) FILTER (WHERE NOT part) AS provider_message_id,
           min(happened_at) FILTER (WHERE status IN ('sent', 'delivered', 'read') AND NOT part) AS sent_at,
           min(happened_at) FILTER (WHERE status = 'delivered' AND NOT part) AS delivered_at,
           min(happened_at) FILTER (WHERE status = 'read' AND NOT part) AS read_at,
           -- One part that failed outweighs another that arrived.
           bool_or(status IN ('sent', 'delivered', 'read') AND NOT part)
               AND NOT bool_or(status = 'failed' AND part) AS arrived,
           bool_or(status = 'failed') AS refused, bool_or(status = 'failed' AND part) AS in_part,
           max(CASE WHEN part THEN 'a part of this text did not arrive: ' ELSE '' END || coalesce(error, 'no reason given'))
               FILTER (WHERE status = 'failed') AS error,
           coalesce(bool_or(hand_over), false) AS hand_over
      FROM known
     GROUP BY found
    HAVING NOT bool_and(part AND status <> 'failed')
),
settled AS (
    UPDATE et_outbound_queue q
       SET status = CASE WHEN n.arrived THEN 'sent' ELSE 'failed' END,
           outcome = CASE WHEN n.arrived THEN 'confirmed' ELSE 'rejected' END,
           provider_message_id = coalesce(q.provider_message_id, n.provider_message_id),
           error_class = CASE WHEN n.arrived THEN NULL ELSE 'receipt' END,
           last_error = n.error,
           finished_at = now(),
           updated_at = now()
      FROM news n
     WHERE q.message_id = n.found AND (n.arrived OR n.refused)
       AND (q.status = 'accepted' OR (q.status = 'failed' AND q.outcome = 'unknown' AND NOT n.in_part))
 RETURNING q.message_id, q.status
),
mirrored AS (
    UPDATE et_messages m
       SET delivery_status = coalesce(s.status, m.delivery_status),
           provider_message_id = coalesce(m.provider_message_id, n.provider_message_id),
           -- What arrived had been sent: the far end answers sooner than a busy engine hears it.
           sent_at = CASE WHEN n.arrived THEN greatest(m.send_started_at, least(m.sent_at, n.sent_at, now()))
                          ELSE m.sent_at END,
           delivered_at = least(m.delivered_at, n.delivered_at, n.read_at),
           read_at = least(m.read_at, n.read_at),
           last_error = CASE WHEN s.status = 'sent' THEN NULL ELSE coalesce(n.error, m.last_error) END,
           reason = CASE WHEN s.status = 'sent' THEN NULL WHEN n.refused AND NOT n.arrived THEN 'receipt.failed'
                         ELSE m.reason END,
           updated_at = now()
      FROM news n LEFT JOIN settled s ON s.message_id = n.found
     WHERE m.id = n.found
 RETURNING m.id, m.thread_id, n.route, coalesce(n.error, m.last_error) AS error,
           n.hand_over AND n.refused AND NOT n.arrived AS hand_over
),
handed_over AS (
    -- The AI cannot reach this customer, a person can (by a template, by phone). Locked as by any takeover, so
    -- that a send which starts meanwhile waits to see whose the thread is.
    UPDATE et_threads t
       SET owner = 'human', epoch = t.epoch + 1, owner_since = now(), auto_release_at = NULL
     WHERE t.owner = 'ai'
       AND t.id IN (SELECT id FROM et_threads WHERE id IN (SELECT thread_id FROM mirrored WHERE hand_over)
                     ORDER BY id FOR UPDATE)
 RETURNING t.id, t.epoch
),
audited AS (
    INSERT INTO et_audit_log (actor, origin, act, subject, before, after, note)
    SELECT DISTINCT ON (h.id) 'dispatcher', m.route, 'takeover', 'thread:' || h.id,
           jsonb_build_object('owner', 'ai', 'epoch', h.epoch - 1),
           jsonb_build_object('owner', 'human', 'epoch', h.epoch, 'message_id', m.id), m.error
      FROM handed_over h JOIN mirrored m ON m.thread_id = h.id AND m.hand_over
     ORDER BY h.id, m.id
),
waiting AS (
    INSERT INTO et_pending_receipts (
           channel, account, provider_message_id, message_id, status, happened_at, error, hand_over)
    SELECT d.channel, coalesce(d.account, 'default'), d.provider_message_id, d.message_id, d.status,
           d.happened_at, d.error, coalesce(d.hand_over, false)
      FROM d WHERE d.provider_message_id IS NOT NULL AND d.n NOT IN (SELECT n FROM known)
)
SELECT found FROM news
