-- T0: store what came in, once; a row that is there already is left as it is.
-- $1 tenant  $2 channel  $3 messages, a JSON array (see intake.py), in the order they came
INSERT INTO et_messages (
       tenant_id, channel, account, direction, text_content, raw_payload, delivery_status, author,
       provider_message_id, provider_timestamp)
SELECT $1, $2, d.account, 'inbound', d.text, d.raw_payload, 'received', 'customer', d.provider_message_id,
       d.provider_timestamp
  FROM jsonb_to_recordset($3::text::jsonb) AS d(
       place integer, account text, text text, raw_payload jsonb, provider_message_id text,
       provider_timestamp timestamptz)
 ORDER BY d.place
    ON CONFLICT (tenant_id, channel, account, provider_message_id)
       WHERE direction = 'inbound' AND provider_message_id IS NOT NULL
       DO NOTHING
RETURNING id
