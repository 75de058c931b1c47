-- Sends that wait are not sent.
-- $1 sends
WITH wanted AS MATERIALIZED (
    SELECT a.id, q.status, q.outcome, q.last_error,
           CASE WHEN q.id IS NULL THEN 'there is no such send'
                WHEN q.status = 'processing' THEN 'it is being sent just now'
                WHEN q.status NOT IN ('queued', 'retry_scheduled') THEN format('it is %s already', q.status)
           END AS obstacle
      FROM unnest($1::bigint[]) AS a(id)
      LEFT JOIN et_outbound_queue q ON q.id = a.id
),
locked AS MATERIALIZED (
    SELECT q.id FROM et_outbound_queue q
     WHERE q.id IN (SELECT id FROM wanted WHERE obstacle IS NULL) AND q.status IN ('queued', 'retry_scheduled')
     ORDER BY q.id
       FOR UPDATE
),
moved AS (
    UPDATE et_outbound_queue q
       SET status = 'failed', outcome = 'cancelled', last_error = 'cancelled by an operator', finished_at = now(),
           updated_at = now()
      FROM locked WHERE q.id = locked.id
 RETURNING q.id, q.message_id
),
mirrored AS (
    UPDATE et_messages m
       SET delivery_status = 'failed', reason = 'cancelled.operator', last_error = 'cancelled by an operator',
           updated_at = now()
      FROM moved WHERE m.id = moved.message_id
)
SELECT w.id, w.status, w.outcome, w.last_error,
       CASE WHEN m.id IS NULL THEN coalesce(w.obstacle, 'it was changed by somebody else just now') END AS obstacle
  FROM wanted w
  LEFT JOIN moved m ON m.id = w.id
 ORDER BY w.id
