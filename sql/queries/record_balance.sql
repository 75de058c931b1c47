-- What a provider answered; nothing when somebody has asked it again since. $1 provider  $2 hour  $3 when it was asked
-- $4 state: told, unlimited, untold, failed  $5 USD, or NULL  $6 what went wrong, or NULL
UPDATE et_provider_balances
   SET state = $4,
       problem = $6,
       balance_usd = CASE WHEN $4 IN ('told', 'unlimited') THEN $5::numeric ELSE balance_usd END,
       told_at = CASE WHEN $4 IN ('told', 'unlimited') THEN now() ELSE told_at END
 WHERE provider = $1 AND hour = $2 AND asked_at = $3
RETURNING provider
