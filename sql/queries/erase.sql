-- The contents of a customer's records go; numbers, times, statuses, tokens and cost stay.
-- $1 threads  $2 leads  $3 texts that name the customer  $4 subjects of the audit log
-- A provider's ids may hold a phone number: a digest of each stays, by which a redelivery is known.
WITH m AS MATERIALIZED (
    SELECT id, provider_message_id FROM et_messages WHERE thread_id = ANY ($1::bigint[])
     UNION
    SELECT id, provider_message_id FROM et_messages WHERE lead_id = ANY ($2::bigint[])
),
messages AS (
    UPDATE et_messages e
       SET text_content = NULL, raw_payload = '{"erased": true}', last_error = NULL, updated_at = now(),
           provider_message_id = CASE WHEN e.provider_message_id LIKE 'erased:%' THEN e.provider_message_id
                                      ELSE et_erased_id(e.provider_message_id) END
      FROM m WHERE e.id = m.id
),
sends AS (
    UPDATE et_outbound_queue q
       SET last_error = NULL, provider_message_id = NULL, other_provider_ids = NULL, updated_at = now()
      FROM m WHERE q.message_id = m.id
),
turns AS (
    UPDATE et_turns
       SET error = NULL, draft = NULL, context_prompt = NULL, context = '{}', attempts = '[]', verdicts = '[]'
     WHERE thread_id = ANY ($1)
),
what_ifs AS (
    UPDATE et_what_if_items w SET problem = 'erased' FROM m WHERE w.message_id = m.id AND w.problem IS NOT NULL
),
notes AS (
    DELETE FROM et_notes WHERE thread_id = ANY ($1)
),
receipts AS (
    DELETE FROM et_pending_receipts r
     WHERE r.message_id IN (SELECT id FROM m)
        OR r.provider_message_id IN (SELECT provider_message_id FROM m)
        OR EXISTS (SELECT FROM unnest($3::text[]) n WHERE position(n IN r.provider_message_id) > 0)
),
quarantined AS (
    DELETE FROM et_intake_quarantine
     WHERE EXISTS (SELECT FROM unnest($3::text[]) n WHERE position(n IN body) > 0)
),
audited AS (
    UPDATE et_audit_log SET before = NULL, after = NULL, note = NULL
     WHERE (subject = ANY ($4::text[]) AND note IS NOT NULL)
        OR EXISTS (SELECT FROM unnest($3::text[]) n
                    WHERE position(n IN concat(before::text, after::text, note)) > 0)
),
addresses AS (
    DELETE FROM et_lead_addresses WHERE lead_id = ANY ($2)
),
leads AS (
    UPDATE et_leads SET name = NULL WHERE id = ANY ($2)
)
UPDATE et_threads
   SET owner = 'ai', operator = NULL, owner_since = NULL, auto_release_at = NULL,
       labels = '[]'::jsonb, snoozed_until = NULL, snoozed_by = NULL, epoch = epoch + 1, due_at = NULL,
       burst_started_at = NULL, last_inbound_at = NULL,
       address = CASE WHEN lead_id IS NULL THEN 'erased:' || id ELSE '' END
 WHERE id = ANY ($1)
