-- Versions of an agent, the newest first, without their prompts. $1 agent  $2 before this version  $3 at most
SELECT v.version, v.note, v.created_by, v.created_at, length(v.prompt) AS characters, v.policy, v.routing,
       v.version = a.active_version AS active
  FROM et_agent_versions v JOIN et_agents a ON a.id = v.agent_id
 WHERE v.agent_id = $1 AND v.version < $2
 ORDER BY v.version DESC
 LIMIT $3
