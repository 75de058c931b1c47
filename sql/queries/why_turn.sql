-- What a message's route, time and cost are judged by, as one JSON document.
-- $1 message: the inbound one, or one of ours  $2 days before it that tell what is usual
-- How many turns at most stands here: for a limit that is passed the planner plans anew at each call.
WITH asked AS (
    SELECT m.id, m.direction, coalesce(m.in_reply_to, m.turn_head_id, m.id) AS head_id FROM et_messages m WHERE m.id = $1
),
inbound AS (
    SELECT m.* FROM asked a
      JOIN et_messages m ON m.id = CASE WHEN a.direction = 'inbound' THEN a.id ELSE a.head_id END
     WHERE m.direction = 'inbound'
),
turns AS (
    SELECT t.*, v.routing AS agent_routing
      FROM inbound i
      JOIN et_turns t ON t.thread_id = i.thread_id AND t.kind NOT IN ('dry_run', 'draft')
       AND (t.message_id = coalesce(i.turn_head_id, i.id) OR (i.claim_token > 0 AND t.claim_token = i.claim_token))
      LEFT JOIN et_agent_versions v ON v.agent_id = t.agent_id AND v.version = t.agent_version
),
usual AS (
    SELECT total_tokens, cost_usd FROM (
        SELECT t.total_tokens, t.cost_usd, t.finished_at, t.outcome, t.total_tokens IS NOT NULL AS known
          FROM et_turns t
         WHERE t.id < coalesce((SELECT min(id) FROM turns), 0)
         ORDER BY t.id DESC LIMIT 500) newest
     WHERE known AND outcome = 'replied' AND finished_at > now() - make_interval(days => $2)
)
SELECT json_build_object(
    'turns', (
        SELECT coalesce(json_agg(json_build_object(
                   'id', id, 'outcome', outcome, 'reason', reason, 'task', task, 'attempts', attempts,
                   'context', context, 'prompt_tokens', prompt_tokens, 'completion_tokens', completion_tokens,
                   'total_tokens', total_tokens, 'cost_usd', cost_usd::float, 'agent_routing', agent_routing,
                   'provider', provider, 'model', model,
                   'let_go', id <= coalesce((SELECT through FROM et_retention WHERE kind = 'traces'), 0))
                   ORDER BY id), '[]')
          FROM turns),
    'routing', (SELECT value FROM et_platform_settings WHERE key = 'llm_routing_config'),
    'quiet_window', (SELECT value FROM et_platform_settings WHERE key = 'quiet_window'),
    'burst_seconds', (
        SELECT extract(epoch FROM max(b.created_at) - min(b.created_at))::float
          FROM inbound i JOIN et_messages b ON b.thread_id = i.thread_id AND b.direction = 'inbound'
           AND b.id >= coalesce(i.turn_head_id, i.id) AND b.turn_head_id = coalesce(i.turn_head_id, i.id)),
    'usual', (
        SELECT json_build_object(
                   'turns', count(*),
                   'total_tokens', percentile_cont(0.5) WITHIN GROUP (ORDER BY total_tokens),
                   'cost_usd', (percentile_cont(0.5) WITHIN GROUP (ORDER BY cost_usd))::float)
          FROM usual)
)::text AS facts
  FROM asked
