-- One version of an agent, whole. $1 agent  $2 version
SELECT v.version, v.prompt, v.policy, v.routing, v.note, v.created_by, v.created_at
  FROM et_agent_versions v
 WHERE v.agent_id = $1 AND v.version = $2
