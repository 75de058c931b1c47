-- Heard though a person answers: once the AI has the conversation back, it does not write to who opted out. Of each
-- customer the newest word counts; one that opts in does not undo what was said after it elsewhere.
-- `claim_turns.sql` does the same with what it parks.
-- $1 messages that were parked  $2 $3 what a message says that opts out, or in again (regular expressions)
UPDATE et_leads l SET opted_out_at = CASE WHEN w.out THEN coalesce(l.opted_out_at, now()) END
  FROM (SELECT DISTINCT ON (customer_id) customer_id, tenant_id, at, text_content ~* $2 AS out
          FROM (SELECT m.id, m.created_at AS at, t.tenant_id, coalesce(t.lead_id, m.lead_id) AS customer_id,
                       m.text_content
                  FROM et_messages m JOIN et_threads t ON t.id = m.thread_id
                 WHERE m.id = ANY ($1::bigint[])) parked
         WHERE text_content ~* $2 OR text_content ~* $3
         ORDER BY customer_id, id DESC) w
 WHERE l.id = w.customer_id AND l.tenant_id = w.tenant_id AND (w.out OR l.opted_out_at <= w.at)
