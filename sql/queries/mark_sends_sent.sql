-- Sends whose outcome was unknown did arrive, says a person.
-- $1 sends
WITH wanted AS MATERIALIZED (
    SELECT a.id, q.status, q.outcome, q.last_error,
           CASE WHEN q.id IS NULL THEN 'there is no such send'
                WHEN q.status <> 'failed' THEN format('it is %s, so its outcome is not in question', q.status)
                WHEN q.outcome IS DISTINCT FROM 'unknown'
                THEN format('its outcome is known: %s', coalesce(q.outcome, 'failed'))
           END AS obstacle
      FROM unnest($1::bigint[]) AS a(id)
      LEFT JOIN et_outbound_queue q ON q.id = a.id
),
locked AS MATERIALIZED (
    SELECT q.id FROM et_outbound_queue q
     WHERE q.id IN (SELECT id FROM wanted WHERE obstacle IS NULL) AND q.status = 'failed' AND q.outcome = 'unknown'
     ORDER BY q.id
       FOR UPDATE
),
moved AS (
    UPDATE et_outbound_queue q
       SET status = 'sent', outcome = 'confirmed', error_class = NULL, last_error = NULL, finished_at = now(),
           updated_at = now()
      FROM locked WHERE q.id = locked.id
 RETURNING q.id, q.message_id, q.send_started_at
),
mirrored AS (
    UPDATE et_messages m
       SET delivery_status = 'sent', reason = NULL, last_error = NULL,
           sent_at = coalesce(m.sent_at, moved.send_started_at, now()), updated_at = now()
      FROM moved WHERE m.id = moved.message_id
)
SELECT w.id, w.status, w.outcome, w.last_error,
       CASE WHEN m.id IS NULL THEN coalesce(w.obstacle, 'it was changed by somebody else just now') END AS obstacle
  FROM wanted w
  LEFT JOIN moved m ON m.id = w.id
 ORDER BY w.id
