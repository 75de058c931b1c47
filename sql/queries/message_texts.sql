-- What is searched of some messages. $1 ids
SELECT id, left(text_content, 10000) AS text FROM et_messages WHERE id = ANY($1::bigint[])
