-- Conversations by their last message, the newest first, that match among a stretch of them; one row.
-- $1 last message before  $2 id, where times are equal  $3 how many to look at
-- $4 owner, or NULL  $5 waiting, or NULL  $6 channel, or NULL  $7 pattern for ILIKE, or NULL  $8 tenant, or NULL
-- $9 operator, or NULL
SELECT count(*) AS looked, (array_agg(s.last_message_at ORDER BY s.last_message_at, s.id))[1] AS reached_at,
       (array_agg(s.id ORDER BY s.last_message_at, s.id))[1] AS reached_id,
       coalesce(array_agg(s.id ORDER BY s.last_message_at DESC, s.id DESC) FILTER (
           WHERE ($4::text IS NULL OR s.owner = $4) AND ($5::boolean IS NULL OR s.waiting = $5)
             AND ($6::text IS NULL OR s.channel = $6) AND ($7::text IS NULL OR l.name ILIKE $7 OR s.address ILIKE $7)
             AND ($8::bigint IS NULL OR s.tenant_id = $8) AND ($9::text IS NULL OR s.operator = $9)), '{}') AS ids
  FROM (SELECT id, tenant_id, lead_id, channel, address, owner, operator, last_message_at,
               coalesce(last_inbound_at >= last_message_at, false) AS waiting
          FROM et_threads
         WHERE last_message_at IS NOT NULL AND last_message_at <= $1 AND (last_message_at, id) < ($1, $2)
         ORDER BY last_message_at DESC, id DESC
         LIMIT $3) s
  LEFT JOIN et_leads l ON l.id = s.lead_id
