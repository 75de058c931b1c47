-- Conversations by their last message, the newest first, that match among a stretch of them; one row.
-- $1 last message before  $2 id, where times are equal  $3 how many to look at
-- $4 owner, or NULL  $5 waiting, or NULL  $6 channel, or NULL  $7 pattern for ILIKE, or NULL  $8 tenant, or NULL
-- $9 operator, or NULL  $10 whether it is nobody's, or NULL  $11 labels as a JSON array, or NULL
-- $12 whether it sleeps, or NULL  $13 whether the AI is paused in it alone, or NULL
-- “narrowed” gives way to the predicate of a partial index, where one holds all that can match.
SELECT count(*) AS looked, (array_agg(s.last_message_at ORDER BY s.last_message_at, s.id))[1] AS reached_at,
       (array_agg(s.id ORDER BY s.last_message_at, s.id))[1] AS reached_id,
       coalesce(array_agg(s.id ORDER BY s.last_message_at DESC, s.id DESC) FILTER (WHERE s.found), '{}') AS ids,
       coalesce(array_agg(s.last_message_at ORDER BY s.last_message_at DESC, s.id DESC) FILTER (WHERE s.found), '{}')
           AS times
  FROM (SELECT r.id, r.last_message_at,
               ($4::text IS NULL OR r.owner = $4)
               AND ($5::boolean IS NULL OR coalesce(r.last_inbound_at >= r.last_message_at, false) = $5)
               AND ($6::text IS NULL OR r.channel = $6)
               AND ($7::text IS NULL OR r.address ILIKE $7 OR l.name ILIKE $7)
               AND ($8::bigint IS NULL OR r.tenant_id = $8)
               AND ($9::text IS NULL OR r.operator = $9)
               AND ($10::boolean IS NULL OR (r.operator IS NULL) = $10)
               AND ($11::jsonb IS NULL OR r.labels @> $11)
               AND ($12::boolean IS NULL OR coalesce(r.snoozed_until > now(), false) = $12)
               AND ($13::boolean IS NULL OR (r.paused_at IS NOT NULL) = $13) AS found
          FROM (SELECT * FROM et_threads
                 WHERE last_message_at IS NOT NULL AND last_message_at <= $1 AND (last_message_at, id) < ($1, $2)
                   AND /* narrowed */ true
                 ORDER BY last_message_at DESC, id DESC
                 LIMIT $3) r
          LEFT JOIN LATERAL (SELECT name FROM et_leads
                              WHERE id = r.lead_id AND $7::text IS NOT NULL LIMIT 1) l ON true) s
