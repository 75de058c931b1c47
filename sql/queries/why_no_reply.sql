-- Everything that decides whether a message has a reply, as one JSON document. Ages and waits are in seconds.
-- $1 message  $2 seconds after which a silent engine counts as gone
SELECT json_build_object(
    'id', m.id, 'direction', m.direction, 'status', m.delivery_status, 'reason', m.reason, 'error', m.last_error,
    'attempts', m.attempts, 'engine', m.claimed_by,
    'age', extract(epoch FROM now() - m.created_at::timestamptz),
    'since', extract(epoch FROM now() - m.updated_at::timestamptz),
    'working_for', extract(epoch FROM now() - m.claimed_at::timestamptz),
    'lease_over', m.lease_until < now(),
    'thread', (
        SELECT json_build_object(
                   'id', t.id, 'owner', t.owner, 'operator', t.operator, 'holder', t.holder, 'paused', t.paused_at IS NOT NULL,
                   'due_in', extract(epoch FROM t.due_at - now()),
                   'release_in', extract(epoch FROM t.auto_release_at - now()),
                   'snoozed_for', extract(epoch FROM t.snoozed_until - now()), 'snoozed_by', t.snoozed_by,
                   'ahead', (SELECT count(*) FROM et_messages e
                              WHERE e.thread_id = t.id AND e.direction = 'inbound' AND e.id < m.id
                                AND e.delivery_status IN ('received', 'inbound_processing')),
                   'earlier_due', (SELECT count(*) FROM (
                       SELECT FROM et_threads o
                        WHERE o.due_at < t.due_at AND o.holder IS NULL ORDER BY o.due_at LIMIT 1000) o))
          FROM et_threads t WHERE t.id = m.thread_id),
    'turn', (
        SELECT json_build_object(
                   'id', t.id, 'outcome', t.outcome, 'reason', t.reason, 'error', t.error,
                   'draft', t.draft IS NOT NULL AND t.reply_message_id IS NULL,
                   'calls', (SELECT count(*) FROM jsonb_array_elements(t.attempts) a
                              WHERE NOT coalesce((a->>'skipped')::boolean, false)))
          FROM et_turns t
         WHERE t.thread_id = m.thread_id AND t.kind <> 'dry_run'
           AND (t.message_id = coalesce(m.turn_head_id, m.id) OR (m.claim_token > 0 AND t.claim_token = m.claim_token))
         ORDER BY t.id DESC LIMIT 1),
    'reply', (
        SELECT json_build_object(
                   'id', r.id, 'status', coalesce(q.status, r.delivery_status), 'outcome', q.outcome, 'reason', r.reason,
                   'error', coalesce(q.last_error, r.last_error), 'attempts', q.attempts, 'queue_id', q.id,
                   'next_in', extract(epoch FROM q.next_attempt_at - now()),
                   'sent_ago', extract(epoch FROM now() - r.sent_at),
                   'delivered_ago', extract(epoch FROM now() - r.delivered_at),
                   'read_ago', extract(epoch FROM now() - r.read_at),
                   'started', q.send_started_at IS NOT NULL, 'lease_over', q.lease_until < now(),
                   'behind', (SELECT count(*) FROM et_outbound_queue e
                               WHERE e.thread_id = q.thread_id AND e.id < q.id
                                 AND e.status IN ('queued', 'processing', 'retry_scheduled')),
                   'route', coalesce(q.channel, r.channel) || '/' || coalesce(q.account, 'default'))
          FROM et_messages r LEFT JOIN et_outbound_queue q ON q.message_id = r.id
         WHERE r.in_reply_to = coalesce(m.turn_head_id, m.id) AND r.direction = 'outbound' AND r.author = 'ai'
         ORDER BY r.id DESC LIMIT 1),
    'human_reply', (
        SELECT json_build_object('id', r.id, 'status', r.delivery_status, 'ago', extract(epoch FROM now() - r.created_at))
          FROM et_messages r
         WHERE r.thread_id = m.thread_id AND r.id > m.id AND r.direction = 'outbound'
           AND coalesce(r.author, CASE WHEN r.llm_provider IS NULL THEN 'human' ELSE 'ai' END) = 'human'
           AND (r.delivery_status <> 'failed' OR r.reason LIKE 'unknown%')
         ORDER BY r.id LIMIT 1),
    'ai_paused', (SELECT value = 'true' FROM et_platform_settings WHERE key = 'ai_paused'),
    'channel', m.channel,
    'channel_paused', (SELECT value @> to_jsonb(m.channel) FROM et_platform_settings WHERE key = 'paused_channels'),
    'tenant_paused', (SELECT paused FROM et_tenants WHERE id = m.tenant_id),
    'engines', (
        SELECT coalesce(json_agg(json_build_object(
                   'name', e.name, 'state', e.snapshot->'inbound_worker'->>'state',
                   'paused_channels', e.snapshot->'outbound_dispatcher'->'paused_channels',
                   'blockers', e.snapshot->'blockers')), '[]')
          FROM et_engines e
         WHERE e.stopped_at IS NULL AND e.heartbeat_at > now() - make_interval(secs => $2))
)::text AS facts
  FROM et_messages m WHERE m.id = $1
