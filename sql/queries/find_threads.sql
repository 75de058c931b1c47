-- Conversations whose customer's name or address holds some words, or whose address is spelt so; the latest first.
-- $1 pattern for ILIKE  $2 spellings of an address  $3 at most
-- Names and addresses are far fewer than messages, and read through: the caller bounds the time.
SELECT t.id, t.last_message_at
  FROM et_threads t
 WHERE t.lead_id IN (SELECT id FROM et_leads WHERE name ILIKE $1
                      UNION
                     SELECT lead_id FROM et_lead_addresses WHERE address ILIKE $1 OR address = ANY($2::text[]))
    OR (t.lead_id IS NULL AND (t.address ILIKE $1 OR t.address = ANY($2::text[])))
 ORDER BY t.last_message_at DESC NULLS LAST, t.id DESC
 LIMIT $3
