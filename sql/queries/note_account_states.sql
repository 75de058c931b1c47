-- What an engine found about its channel accounts; rows that say so already are left alone.
-- $1 accounts, a JSON array: channel, account, state, detail
WITH d AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($1::text::jsonb) AS d(channel text, account text, state text, detail text)
),
moved AS (
    UPDATE et_channel_accounts a SET state = d.state, detail = d.detail, updated_at = now()
      FROM d WHERE a.channel = d.channel AND a.account = d.account
       AND (a.state, a.detail) IS DISTINCT FROM (d.state, d.detail)
)
INSERT INTO et_channel_accounts (channel, account, state, detail)
SELECT d.channel, d.account, d.state, d.detail FROM d
 WHERE NOT EXISTS (SELECT FROM et_channel_accounts a WHERE a.channel = d.channel AND a.account = d.account)
    ON CONFLICT (channel, account) DO NOTHING
