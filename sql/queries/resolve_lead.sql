-- The lead of a thread whose lead is not stored yet: found by address or by number, else made.
-- $1 thread  $2 tenant  $3 lead or NULL  $4 channel  $5 address or NULL  $6 name or NULL
-- $7 $8 what a message says that opts out, or in again: it may have been said to a person already
WITH heard AS (
    SELECT text_content ~* $7 AS out FROM et_messages
     WHERE thread_id = $1 AND delivery_status = 'inbound_human_takeover'
       AND (text_content ~* $7 OR text_content ~* $8)
     ORDER BY id DESC LIMIT 1
),
known AS (
    SELECT lead_id FROM et_lead_addresses WHERE tenant_id = $2 AND channel = $4 AND address = $5
),
made AS (
    INSERT INTO et_leads (id, tenant_id, name, opted_out_at) OVERRIDING SYSTEM VALUE
    SELECT coalesce($3, nextval(pg_get_serial_sequence('et_leads', 'id'))), $2, $6,
           CASE WHEN (SELECT out FROM heard) THEN now() END
     WHERE NOT EXISTS (SELECT FROM known) OR $3 IS NOT NULL
        ON CONFLICT (id) DO NOTHING
 RETURNING id
),
lead AS (
    SELECT coalesce($3, (SELECT lead_id FROM known), (SELECT id FROM made)) AS id
),
consented AS (
    UPDATE et_leads l SET opted_out_at = now() FROM lead
     WHERE l.id = lead.id AND l.tenant_id = $2 AND l.opted_out_at IS NULL AND (SELECT out FROM heard)
),
addressed AS (
    INSERT INTO et_lead_addresses (tenant_id, channel, address, lead_id)
    SELECT $2, $4, $5, id FROM lead WHERE $5 IS NOT NULL AND id IS NOT NULL
        ON CONFLICT (tenant_id, channel, address) DO NOTHING
),
threaded AS (
    UPDATE et_threads t SET lead_id = lead.id FROM lead
     WHERE t.id = $1 AND t.lead_id IS NULL
       AND NOT EXISTS (SELECT FROM et_threads o WHERE o.tenant_id = t.tenant_id AND o.lead_id = lead.id
                          AND o.channel = t.channel AND o.account = t.account)
),
named AS (
    UPDATE et_messages m SET lead_id = lead.id FROM lead
     WHERE m.thread_id = $1 AND m.lead_id IS NULL
)
SELECT lead.id AS lead_id FROM lead
