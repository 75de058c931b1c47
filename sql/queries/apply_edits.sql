-- A customer's new words in place of the old ones; the first ones are kept in raw_payload. Old news changes nothing.
-- $1 tenant  $2 channel  $3 edits, a JSON array: account, provider_message_id, text, at
WITH d AS MATERIALIZED (
    SELECT DISTINCT ON (account, provider_message_id) account, provider_message_id, text, coalesce(at, now()) AS at
      FROM jsonb_to_recordset($3::text::jsonb) AS d(account text, provider_message_id text, text text, at timestamptz)
     ORDER BY account, provider_message_id, at DESC
)
UPDATE et_messages m
   SET text_content = d.text,
       raw_payload = coalesce(m.raw_payload, '{}') || jsonb_build_object(
           'text_before_edit', coalesce(m.raw_payload -> 'text_before_edit', to_jsonb(m.text_content)),
           'edited_at', d.at),
       updated_at = now()
  FROM d
 WHERE m.tenant_id = $1 AND m.channel = $2 AND m.account = d.account AND m.direction = 'inbound'
   AND m.provider_message_id = d.provider_message_id AND m.text_content IS DISTINCT FROM d.text
   AND coalesce((m.raw_payload ->> 'edited_at')::timestamptz, '-infinity') <= d.at
RETURNING m.id
