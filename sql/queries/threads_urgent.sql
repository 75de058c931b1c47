-- Conversations that want a person, longest waiting customer first; then the others that a person owns.
-- $1 of a person at most, those taken over last  $2 of turns and messages without an answer to look at
-- $3 owner, or NULL  $4 waiting, or NULL  $5 channel, or NULL  $6 pattern for ILIKE, or NULL  $7 tenant, or NULL
-- $8 operator, or NULL  $9 whether it is nobody's, or NULL  $10 labels as a JSON array, or NULL
-- $11 whether it sleeps; NULL is awake  $12 whether the AI is paused in it alone, or NULL  $13 at most
-- The LIMIT 1 of look-ups by key keeps the planner from reading whole tables for a join.
-- One that the AI owns wants a person when the AI gave up on it, or may not send what it wrote.
WITH given_up AS MATERIALIZED (
    SELECT thread_id AS id FROM (SELECT thread_id, reason FROM et_turns
                                  WHERE outcome <> 'replied' ORDER BY id DESC LIMIT $2) n
     WHERE n.reason IS DISTINCT FROM 'policy.opt_out'
     UNION
    SELECT thread_id FROM (SELECT thread_id FROM et_messages
                            WHERE direction = 'inbound' AND delivery_status = 'inbound_error'
                            ORDER BY id DESC LIMIT $2) e
),
found AS MATERIALIZED (
    SELECT * FROM (SELECT id, tenant_id, lead_id, channel, address, owner, operator, labels, paused_at,
                          last_inbound_at, last_message_at,
                          last_inbound_at IS NOT NULL
                              AND last_inbound_at >= coalesce(last_message_at, last_inbound_at) AS waiting
                     FROM et_threads
                    WHERE owner = 'human'
                      AND coalesce(snoozed_until > now(), false) = coalesce($11::boolean, false)
                    ORDER BY owner_since DESC LIMIT $1) h
     UNION ALL
    SELECT t.id, t.tenant_id, t.lead_id, t.channel, t.address, t.owner, t.operator, t.labels, t.paused_at,
           t.last_inbound_at, t.last_message_at, true
      FROM given_up g CROSS JOIN LATERAL (SELECT * FROM et_threads WHERE id = g.id LIMIT 1) t
     WHERE t.owner = 'ai' AND t.holder IS NULL AND t.due_at IS NULL
       AND t.last_inbound_at >= coalesce(t.last_message_at, t.last_inbound_at)
       AND coalesce(t.snoozed_until > now(), false) = coalesce($11::boolean, false)
)
SELECT f.id
  FROM found f
  LEFT JOIN LATERAL (SELECT name, opted_out_at FROM et_leads WHERE id = f.lead_id LIMIT 1) l ON true
  LEFT JOIN LATERAL (
       SELECT min(created_at) AS since
         FROM (SELECT created_at, bool_or(direction = 'outbound') OVER (ORDER BY id DESC) AS answered
                 FROM (SELECT id, direction, created_at FROM et_messages
                        WHERE thread_id = f.id AND f.waiting ORDER BY id DESC LIMIT 20) x) s
        WHERE NOT answered) w ON true
 WHERE ($3::text IS NULL OR f.owner = $3) AND ($4::boolean IS NULL OR f.waiting = $4)
   AND ($5::text IS NULL OR f.channel = $5) AND ($6::text IS NULL OR l.name ILIKE $6 OR f.address ILIKE $6)
   AND ($7::bigint IS NULL OR f.tenant_id = $7) AND ($8::text IS NULL OR f.operator = $8)
   AND ($9::boolean IS NULL OR (f.operator IS NULL) = $9) AND ($10::jsonb IS NULL OR f.labels @> $10)
   AND ($12::boolean IS NULL OR (f.paused_at IS NOT NULL) = $12)
   AND (f.owner = 'human' OR l.opted_out_at IS NULL)
 ORDER BY f.waiting DESC, w.since, f.last_message_at DESC NULLS LAST, f.id
 LIMIT $13
