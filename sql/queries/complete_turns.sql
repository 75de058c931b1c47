-- T2: end turns. Reply, queue row, turn record, usage and statuses in one commit, or nothing of a turn.
-- $1 turns, a JSON array (see claims.Completion)  $2 engine
-- $3 replies that the dispatcher takes at once, at most  $4 lease of those, seconds  $5 channels to leave alone
-- Of those, what can leave this very moment is marked as started, as T4 would: a takeover locks the thread too.
-- A turn whose claim was lost, or whose thread a person took over, writes its record (with the text as a
-- draft) and nothing else. A thread that somebody has locked is left out of the answer, to be tried again.
-- Wide columns stay in d and are fetched once; IS TRUE keeps lookups by id off the partial indexes.
WITH d AS MATERIALIZED (
    SELECT * FROM json_to_recordset($1::text::json) AS d(
        thread_id bigint, tenant_id bigint, lead_id bigint, head_id bigint, message_ids bigint[], token bigint,
        epoch bigint, outcome text, reason text, error text, hand_over boolean, opt_out boolean, restartable boolean,
        leaves boolean, retry_seconds float, channel text, account text, text text, raw_payload jsonb,
        provider text, model text, prompt_tokens integer, completion_tokens integer, total_tokens integer,
        cost_usd numeric(12, 6), spent_usd numeric(12, 6), kind text, agent_id bigint, agent_version integer, task text,
        attempts jsonb, verdicts jsonb, context jsonb, context_prompt text, draft text, simulated boolean,
        started_at timestamptz, context_at timestamptz, answered_at timestamptz)
),
locked AS MATERIALIZED (
    SELECT t.id, t.owner, t.epoch, t.holder, t.claim_token, t.due_at, t.lead_id, t.address, t.last_inbound_at
      FROM et_threads t
     WHERE t.id IN (SELECT thread_id FROM d)
     ORDER BY t.id
       FOR UPDATE SKIP LOCKED
),
verdict AS MATERIALIZED (
    SELECT v.*, NOT v.written AND v.result NOT IN ('drafted', 'lost_claim', 'superseded') AS ends
      FROM (SELECT d.head_id, d.token, d.thread_id, d.epoch, d.message_ids, d.lead_id, d.tenant_id, d.channel, d.account,
                   d.reason, d.error, d.hand_over, d.opt_out, d.leaves, d.retry_seconds,
                   t.lead_id AS thread_lead, t.address, t.last_inbound_at, w.outcome IS NOT NULL AS written, w.reply_message_id,
                   CASE WHEN w.outcome IS NOT NULL THEN w.outcome
                        WHEN t.owner <> 'ai' OR t.epoch <> d.epoch THEN 'drafted'
                        WHEN t.claim_token <> d.token OR t.holder IS DISTINCT FROM $2 THEN 'lost_claim'
                        WHEN d.restartable AND d.outcome = 'replied' AND t.due_at IS NOT NULL THEN 'superseded'
                        ELSE d.outcome END AS result
              FROM d JOIN locked t ON t.id = d.thread_id
              LEFT JOIN LATERAL (
                   -- Written before, by a commit whose answer was lost: told again as it was, and not counted twice.
                   SELECT outcome, reply_message_id FROM et_turns
                    WHERE message_id = d.head_id AND claim_token = d.token
                      AND (t.owner, t.epoch, t.claim_token, t.holder) IS DISTINCT FROM ('ai', d.epoch, d.token, $2)
                    LIMIT 1) w ON true) v
),
moved AS (
    UPDATE et_messages m
       SET delivery_status = CASE v.result WHEN 'replied' THEN 'inbound_ai_replied'
                                           WHEN 'takeover' THEN 'inbound_human_takeover'
                                           WHEN 'error' THEN 'inbound_error'
                                           ELSE 'received' END,
           turn_head_id = CASE v.result WHEN 'replied' THEN m.turn_head_id END,
           replied_at = CASE v.result WHEN 'replied' THEN now() END,
           lease_until = NULL,
           -- What an operator asked for stays asked for, however old it is.
           reason = CASE WHEN v.result = 'retry' AND m.reason IN ('replay', 'handed_back') THEN m.reason ELSE v.reason END,
           last_error = v.error,
           updated_at = now()
      FROM verdict v
     WHERE v.ends AND m.id = ANY (v.message_ids)
       AND (m.claim_token = v.token AND m.delivery_status = 'inbound_processing') IS TRUE
 RETURNING m.id
),
ended AS MATERIALIZED (
    SELECT v.*,
           v.result = 'replied'
           AND row_number() OVER (PARTITION BY v.result ORDER BY v.head_id) <= $3
           AND NOT (coalesce(v.channel, '') || '/' || v.account) = ANY ($5::text[])
           AND (SELECT e.id FROM et_outbound_queue e
                 WHERE e.thread_id = v.thread_id AND e.status IN ('queued', 'processing', 'retry_scheduled')
                 ORDER BY e.thread_id, e.id LIMIT 1) IS NULL AS direct
      FROM verdict v
     WHERE v.ends AND v.head_id IN (SELECT id FROM moved)
),
replies AS (
    INSERT INTO et_messages (
           tenant_id, lead_id, thread_id, channel, account, direction, text_content, raw_payload, delivery_status,
           author, in_reply_to, llm_provider, llm_model, llm_prompt_tokens, llm_completion_tokens,
           llm_total_tokens, llm_estimated_cost_usd)
    SELECT d.tenant_id, d.lead_id, d.thread_id, d.channel, d.account, 'outbound', d.text, d.raw_payload,
           CASE WHEN e.direct THEN 'processing' ELSE 'queued' END,
           'ai', d.head_id, d.provider, d.model, d.prompt_tokens, d.completion_tokens, d.total_tokens, d.cost_usd
      FROM ended e JOIN d USING (head_id, token) WHERE e.result = 'replied'
 RETURNING id, in_reply_to
),
queued AS (
    -- A direct reply is claimed already, as T3 would: by this engine, with a token and a lease.
    INSERT INTO et_outbound_queue (
           message_id, tenant_id, thread_id, channel, account, author, thread_epoch,
           status, claimed_by, claim_token, attempts, lease_until, send_started_at)
    SELECT r.id, e.tenant_id, e.thread_id, e.channel, e.account, 'ai', e.epoch,
           CASE WHEN e.direct THEN 'processing' ELSE 'queued' END,
           CASE WHEN e.direct THEN $2 END, e.direct::integer, e.direct::integer,
           CASE WHEN e.direct THEN now() + make_interval(secs => $4) END,
           CASE WHEN e.direct AND e.leaves THEN now() END
      FROM replies r JOIN ended e ON e.head_id = r.in_reply_to
 RETURNING id, message_id
),
regained AS (
    -- Queued before, by a commit whose answer was lost: nobody has begun to send it.
    UPDATE et_outbound_queue q
       SET lease_until = now() + make_interval(secs => $4), send_started_at = NULL, updated_at = now()
      FROM verdict v
     WHERE v.written AND q.message_id = v.reply_message_id AND q.claimed_by = $2 AND q.claim_token = 1
       AND (q.status = 'processing') IS TRUE
 RETURNING q.id, q.message_id
),
recorded AS (
    INSERT INTO et_turns (
           tenant_id, thread_id, message_id, reply_message_id, replay_of, kind, outcome, reason, error, agent_id,
           agent_version, task, provider, model, attempts, verdicts, context, context_prompt, draft,
           prompt_tokens, completion_tokens, total_tokens, cost_usd, burst, claim_token, engine, simulated,
           started_at, context_at, answered_at)
    SELECT d.tenant_id, d.thread_id, d.head_id, r.id,
           CASE d.kind WHEN 'replay' THEN (SELECT max(id) FROM et_turns WHERE message_id = d.head_id) END,
           d.kind, v.result, d.reason, d.error, d.agent_id, d.agent_version, d.task, d.provider, d.model, d.attempts,
           d.verdicts, d.context, d.context_prompt,
           CASE v.result WHEN 'replied' THEN d.draft ELSE coalesce(d.draft, d.text) END,
           d.prompt_tokens, d.completion_tokens, d.total_tokens, d.spent_usd, cardinality(d.message_ids), d.token,
           $2, d.simulated, d.started_at, d.context_at, d.answered_at
      FROM verdict v
      JOIN d USING (head_id, token)
      LEFT JOIN replies r ON r.in_reply_to = v.head_id AND v.result = 'replied'
     WHERE v.result <> 'superseded' AND NOT v.written
),
consented AS (
    UPDATE et_leads l SET opted_out_at = CASE WHEN e.opt_out THEN now() END
      FROM ended e WHERE l.id = e.lead_id AND e.opt_out IS NOT NULL
),
released AS (
    UPDATE et_threads t
       SET holder = NULL,
           lease_until = NULL,
           reserved_usd = NULL,
           last_message_at = CASE e.result WHEN 'replied' THEN now() ELSE t.last_message_at END,
           owner = CASE WHEN e.hand_over THEN 'human' ELSE t.owner END,
           epoch = t.epoch + e.hand_over::integer,
           owner_since = CASE WHEN e.hand_over THEN now() ELSE t.owner_since END,
           burst_started_at = CASE e.result WHEN 'retry' THEN now() ELSE t.burst_started_at END,
           due_at = CASE e.result WHEN 'retry' THEN now() + make_interval(secs => e.retry_seconds)
                                  ELSE t.due_at END
      FROM ended e
     WHERE t.id = e.thread_id
),
used AS (
    -- Last, and by engine: the row is locked until the commit, and others may want it.
    INSERT INTO et_usage_hourly AS u (
           hour, tenant_id, agent_id, task, provider, model, shard, turns, unpriced, prompt_tokens,
           completion_tokens, cost_usd)
    SELECT date_trunc('hour', now()), d.tenant_id, coalesce(d.agent_id, 0), d.task, d.provider, d.model, abs(hashtext($2) % 64), count(*),
           count(*) FILTER (WHERE d.spent_usd IS NULL), coalesce(sum(d.prompt_tokens), 0),
           coalesce(sum(d.completion_tokens), 0), coalesce(sum(d.spent_usd), 0)
      FROM verdict v JOIN d USING (head_id, token)
     WHERE v.result <> 'superseded' AND NOT v.written AND d.provider IS NOT NULL
     GROUP BY d.tenant_id, coalesce(d.agent_id, 0), d.task, d.provider, d.model
     ORDER BY 2, 3, 4, 5, 6
        ON CONFLICT (hour, tenant_id, agent_id, task, provider, model, shard) DO UPDATE
       SET turns = u.turns + excluded.turns,
           unpriced = u.unpriced + excluded.unpriced,
           prompt_tokens = u.prompt_tokens + excluded.prompt_tokens,
           completion_tokens = u.completion_tokens + excluded.completion_tokens,
           cost_usd = u.cost_usd + excluded.cost_usd
)
SELECT v.head_id, v.token, v.result, coalesce(r.id, v.reply_message_id) AS reply_id, coalesce(q.id, g.id) AS queue_id,
       coalesce(e.direct, g.id IS NOT NULL) AS direct, coalesce(e.direct AND e.leaves, false) AS started,
       v.thread_lead AS lead_id, v.last_inbound_at, now() AS claimed_at,
       CASE WHEN e.direct OR g.id IS NOT NULL THEN coalesce(
           nullif(v.address, ''),
           (SELECT a.address FROM et_lead_addresses a
             WHERE a.lead_id = v.thread_lead AND a.tenant_id = v.tenant_id AND a.channel = v.channel
             ORDER BY a.created_at LIMIT 1),
           CASE WHEN v.channel = 'simulator' THEN 'lead:' || v.thread_lead END) END AS address
  FROM verdict v
  LEFT JOIN ended e ON e.head_id = v.head_id AND e.token = v.token
  LEFT JOIN replies r ON r.in_reply_to = v.head_id AND v.result = 'replied'
  LEFT JOIN queued q ON q.message_id = r.id
  LEFT JOIN regained g ON g.message_id = v.reply_message_id AND v.written
