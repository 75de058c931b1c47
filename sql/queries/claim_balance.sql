-- Leave for one engine to ask a provider for its balance, or no row when it was asked of late. $1 provider
-- $2 seconds between two questions  $3 days that answers are kept
WITH past AS (
    DELETE FROM et_provider_balances WHERE provider = $1 AND hour < now() - make_interval(days => $3)
)
INSERT INTO et_provider_balances AS b (provider, hour, asked_at)
SELECT $1, date_trunc('hour', now()), now()
 WHERE NOT EXISTS (SELECT FROM et_provider_balances
                    WHERE provider = $1 AND hour > now() - make_interval(secs => $2 + 3600)
                      AND asked_at > now() - make_interval(secs => $2))
    ON CONFLICT (provider, hour) DO UPDATE SET asked_at = excluded.asked_at
 WHERE b.asked_at <= now() - make_interval(secs => $2)
RETURNING hour, asked_at
