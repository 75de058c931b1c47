-- The time zone of a conversation's workspace, and the time. $1 thread
-- The account's workspace, else the one of the tenant's first agent, as turns are answered; else UTC.
SELECT coalesce(
           (SELECT w.timezone FROM et_channel_accounts a JOIN et_workspaces w ON w.id = a.workspace_id
             WHERE a.channel = t.channel AND a.account = t.account AND w.tenant_id = t.tenant_id LIMIT 1),
           (SELECT timezone FROM et_workspaces WHERE tenant_id = t.tenant_id ORDER BY id LIMIT 1),
           'UTC') AS timezone,
       now() AS now
  FROM et_threads t
 WHERE t.id = $1
