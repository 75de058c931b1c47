-- The conversation of an address, as a channel knows it. $1 spellings of the address  $2 channels
SELECT t.id, t.last_message_at
  FROM et_tenants n
 CROSS JOIN unnest($2::text[]) AS c(channel)
 CROSS JOIN unnest($1::text[]) AS s(address)
  JOIN et_lead_addresses a ON a.tenant_id = n.id AND a.channel = c.channel AND a.address = s.address
  JOIN et_threads t ON t.tenant_id = a.tenant_id AND t.lead_id = a.lead_id AND t.lead_id IS NOT NULL
 UNION ALL
SELECT t.id, t.last_message_at
  FROM et_tenants n
 CROSS JOIN unnest($2::text[]) AS c(channel)
 CROSS JOIN et_channel_accounts h
 CROSS JOIN unnest($1::text[]) AS s(address)
  JOIN et_threads t ON t.tenant_id = n.id AND t.channel = c.channel AND t.account = h.account
                   AND t.address = s.address AND t.lead_id IS NULL
 ORDER BY last_message_at DESC NULLS LAST, id DESC
 LIMIT 1
