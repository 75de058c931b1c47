-- Canned replies of all tenants, the beginning of each text. $1 at most
SELECT tenant_id, shortcut, left(text_content, 200) AS text FROM et_canned_replies ORDER BY tenant_id, shortcut LIMIT $1
