-- Heard though a person answers: once the AI has the conversation back, it does not write to who opted out. Of each
-- customer the newest word counts. `claim_turns.sql` does the same with what it parks.
-- $1 messages that were parked  $2 $3 what a message says that opts out, or in again (regular expressions)
UPDATE et_leads l SET opted_out_at = CASE WHEN w.out THEN now() END
  FROM (SELECT DISTINCT ON (lead_id) lead_id, text_content ~* $2 AS out
          FROM (SELECT m.id, coalesce(m.lead_id, t.lead_id) AS lead_id, m.text_content
                  FROM et_messages m JOIN et_threads t ON t.id = m.thread_id
                 WHERE m.id = ANY ($1::bigint[])) parked
         WHERE text_content ~* $2 OR text_content ~* $3
         ORDER BY lead_id, id DESC) w
 WHERE l.id = w.lead_id
