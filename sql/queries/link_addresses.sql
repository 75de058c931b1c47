-- Several addresses of one customer (a LID beside the phone number) lead to one lead, and so to one thread.
-- $1 tenant  $2 channel  $3 addresses  $4 name or NULL
-- Where they belong to several leads, the one whose conversation a person has wins, else the one heard of last;
-- who asked on any of them not to be written to has asked on all.
WITH owned AS MATERIALIZED (
    SELECT DISTINCT ON (a.lead_id) a.lead_id, a.created_at, l.opted_out_at,
           EXISTS (SELECT FROM et_threads t WHERE t.tenant_id = $1 AND t.lead_id = a.lead_id AND t.channel = $2
                      AND t.owner = 'human') AS by_person,
           (SELECT max(t.last_message_at) FROM et_threads t
             WHERE t.tenant_id = $1 AND t.lead_id = a.lead_id AND t.channel = $2) AS heard_at
      FROM et_lead_addresses a
      LEFT JOIN et_leads l ON l.id = a.lead_id
     WHERE a.tenant_id = $1 AND a.channel = $2 AND a.address = ANY ($3::text[])
     ORDER BY a.lead_id, a.created_at
),
known AS MATERIALIZED (
    SELECT lead_id FROM owned ORDER BY by_person DESC, heard_at DESC NULLS LAST, created_at, lead_id LIMIT 1
),
made AS (
    INSERT INTO et_leads (tenant_id, name) SELECT $1, $4 WHERE NOT EXISTS (SELECT FROM known)
 RETURNING id
),
lead AS (
    SELECT lead_id AS id FROM known UNION ALL SELECT id FROM made
),
consented AS (
    UPDATE et_leads l SET opted_out_at = (SELECT max(opted_out_at) FROM owned)
      FROM known k WHERE l.id = k.lead_id AND l.opted_out_at IS NULL
       AND EXISTS (SELECT FROM owned WHERE opted_out_at IS NOT NULL)
),
threaded AS (
    -- A lead has one thread an account: of two strangers' only one becomes it.
    UPDATE et_threads t SET lead_id = lead.id
      FROM lead, (SELECT DISTINCT ON (account) id FROM et_threads
                   WHERE tenant_id = $1 AND channel = $2 AND lead_id IS NULL AND address = ANY ($3::text[])
                   ORDER BY account, owner = 'human' DESC, last_message_at DESC NULLS LAST, id) s
     WHERE t.id = s.id AND t.lead_id IS NULL
       AND NOT EXISTS (SELECT FROM et_threads o WHERE o.tenant_id = $1 AND o.lead_id = lead.id
                          AND o.channel = $2 AND o.account = t.account)
)
INSERT INTO et_lead_addresses AS a (tenant_id, channel, address, lead_id)
SELECT $1, $2, n.address, lead.id FROM unnest($3::text[]) AS n(address), lead
    ON CONFLICT (tenant_id, channel, address) DO UPDATE SET lead_id = excluded.lead_id
 WHERE a.lead_id <> excluded.lead_id AND a.lead_id IN (SELECT lead_id FROM owned)
