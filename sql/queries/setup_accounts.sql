-- Every channel account and who answers it. $1 at most
SELECT c.channel, c.account, c.tenant_id, coalesce(t.name, '') AS tenant, c.agent_id, a.name AS agent
  FROM et_channel_accounts c
  LEFT JOIN et_tenants t ON t.id = c.tenant_id
  LEFT JOIN et_agents a ON a.id = c.agent_id
 ORDER BY c.channel, c.account
 LIMIT $1
