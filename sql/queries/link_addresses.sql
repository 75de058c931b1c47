-- Several addresses of one customer (a LID beside the phone number) lead to one lead, and so to one thread.
-- $1 tenant  $2 channel  $3 addresses  $4 name or NULL
WITH known AS (
    SELECT lead_id FROM et_lead_addresses
     WHERE tenant_id = $1 AND channel = $2 AND address = ANY ($3::text[])
     ORDER BY created_at LIMIT 1
),
made AS (
    INSERT INTO et_leads (tenant_id, name) SELECT $1, $4 WHERE NOT EXISTS (SELECT FROM known)
 RETURNING id
),
lead AS (
    SELECT lead_id AS id FROM known UNION ALL SELECT id FROM made
),
threaded AS (
    UPDATE et_threads t SET lead_id = lead.id FROM lead
     WHERE t.tenant_id = $1 AND t.channel = $2 AND t.lead_id IS NULL AND t.address = ANY ($3::text[])
       AND NOT EXISTS (SELECT FROM et_threads o WHERE o.tenant_id = $1 AND o.lead_id = lead.id
                          AND o.channel = $2 AND o.account = t.account)
)
INSERT INTO et_lead_addresses (tenant_id, channel, address, lead_id)
SELECT $1, $2, a.address, lead.id FROM unnest($3::text[]) AS a(address), lead
    ON CONFLICT (tenant_id, channel, address) DO NOTHING
