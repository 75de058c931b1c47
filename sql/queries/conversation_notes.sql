-- Private notes of a conversation between two moments. $1 thread  $2 from  $3 before
SELECT id, created_at AS at, author, left(text_content, 20000) AS text FROM et_notes
 WHERE thread_id = $1 AND created_at >= $2 AND created_at < $3
 ORDER BY id DESC
 LIMIT 500
