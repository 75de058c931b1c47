-- What an erasure would take, by kind.
-- $1 threads  $2 leads  $3 texts that name the customer  $4 subjects of the audit log
WITH m AS MATERIALIZED (
    SELECT id FROM et_messages WHERE thread_id = ANY ($1::bigint[])
     UNION
    SELECT id FROM et_messages WHERE lead_id = ANY ($2::bigint[])
)
SELECT (SELECT count(*) FROM m) AS messages,
       (SELECT count(*) FROM et_turns WHERE thread_id = ANY ($1)) AS turns,
       (SELECT count(*) FROM et_outbound_queue WHERE message_id IN (SELECT id FROM m)) AS sends,
       (SELECT count(*) FROM et_notes WHERE thread_id = ANY ($1)) AS notes,
       (SELECT count(*) FROM et_pending_receipts r
         WHERE r.message_id IN (SELECT id FROM m)
            OR r.provider_message_id IN (SELECT provider_message_id FROM et_messages WHERE id IN (SELECT id FROM m))
            OR EXISTS (SELECT FROM unnest($3::text[]) n WHERE position(n IN r.provider_message_id) > 0)) AS receipts,
       (SELECT count(*) FROM et_intake_quarantine
         WHERE EXISTS (SELECT FROM unnest($3::text[]) n WHERE position(n IN body) > 0)) AS quarantined,
       (SELECT count(*) FROM et_audit_log
         WHERE (subject = ANY ($4::text[]) AND note IS NOT NULL)
            OR EXISTS (SELECT FROM unnest($3::text[]) n
                        WHERE position(n IN concat(before::text, after::text, note)) > 0)) AS audit_entries
