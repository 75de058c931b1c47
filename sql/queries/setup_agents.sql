-- Every agent with where it belongs and its active version's origin. $1 at most
SELECT a.id, a.tenant_id, coalesce(t.name, '') AS tenant, coalesce(w.name, '') AS workspace, a.name, a.enabled,
       a.mode, a.active_version AS version, v.created_by AS changed_by, v.created_at AS changed_at, v.note
  FROM et_agents a
  LEFT JOIN et_tenants t ON t.id = a.tenant_id
  LEFT JOIN et_workspaces w ON w.id = a.workspace_id
  LEFT JOIN et_agent_versions v ON v.agent_id = a.id AND v.version = a.active_version
 ORDER BY a.tenant_id, a.id
 LIMIT $1
