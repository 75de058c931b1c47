-- Which of these messages were erased: a digest of the provider's id is all that is left of them.
-- $1 channel  $2 tenants  $3 accounts  $4 the providers' ids
SELECT g.id
  FROM unnest($2::bigint[], $3::text[], $4::text[]) AS g(tenant_id, account, id)
 WHERE EXISTS (SELECT FROM et_messages
                WHERE tenant_id = g.tenant_id AND channel = $1 AND account = g.account AND direction = 'inbound'
                  AND provider_message_id = et_erased_id(g.id))
    OR EXISTS (SELECT FROM et_messages
                WHERE channel = $1 AND direction = 'outbound' AND provider_message_id = et_erased_id(g.id))
