-- A thread whose time with a person is over, locked; one that somebody is busy with waits for the next round.
SELECT id, operator FROM et_threads
 WHERE owner = 'human' AND auto_release_at <= now()
 ORDER BY auto_release_at LIMIT 1
   FOR UPDATE SKIP LOCKED
