-- Failed sends are queued again with fresh attempts. The caller has locked their threads.
-- $1 sends  $2 whether one whose outcome is unknown, and that may have arrived, is sent again
-- What the AI wrote before a takeover goes out after the hand-back, since a person asks for it now.
WITH wanted AS MATERIALIZED (
    SELECT a.id, q.status, q.outcome, q.last_error, t.epoch,
           CASE WHEN q.id IS NULL THEN 'there is no such send'
                WHEN q.status <> 'failed' THEN format('it is %s, not failed', q.status)
                WHEN q.outcome = 'unknown' AND NOT $2
                THEN 'it may have arrived; confirm that it is to be sent again, or mark it sent'
                WHEN q.author = 'ai' AND t.owner = 'human'
                THEN format('%s answers thread %s; release it first, or write it yourself',
                            coalesce(t.operator, 'a person'), t.id)
           END AS obstacle
      FROM unnest($1::bigint[]) AS a(id)
      LEFT JOIN et_outbound_queue q ON q.id = a.id
      LEFT JOIN et_threads t ON t.id = q.thread_id
),
locked AS MATERIALIZED (
    SELECT q.id, w.epoch
      FROM et_outbound_queue q JOIN wanted w ON w.id = q.id
     WHERE w.obstacle IS NULL AND q.status = 'failed' AND (q.outcome IS DISTINCT FROM 'unknown' OR $2)
     ORDER BY q.id
       FOR UPDATE OF q
),
moved AS (
    UPDATE et_outbound_queue q
       SET status = 'queued', outcome = NULL, error_class = NULL, last_error = NULL, attempts = 0,
           provider_message_id = NULL,
           thread_epoch = CASE q.author WHEN 'ai' THEN coalesce(l.epoch, q.thread_epoch) ELSE q.thread_epoch END,
           send_started_at = NULL, finished_at = NULL, next_attempt_at = now(), updated_at = now()
      FROM locked l WHERE q.id = l.id
 RETURNING q.id, q.message_id
),
mirrored AS (
    UPDATE et_messages m
       SET delivery_status = 'queued', reason = NULL, last_error = NULL, send_started_at = NULL, sent_at = NULL,
           provider_message_id = NULL, updated_at = now()
      FROM moved WHERE m.id = moved.message_id
),
told AS MATERIALIZED (
    SELECT pg_notify('et_outbound', min(id)::text) FROM moved HAVING count(*) > 0
)
SELECT w.id, w.status, w.outcome, w.last_error,
       CASE WHEN m.id IS NULL THEN coalesce(w.obstacle, 'it was changed by somebody else just now') END AS obstacle
  FROM wanted w
  LEFT JOIN moved m ON m.id = w.id
  LEFT JOIN told ON true
 ORDER BY w.id
