-- Turns in which a call to a language model failed, among a stretch of turns before an id, the newest first; and how
-- far that stretch goes. One row at least. $1 before  $2 turns to look at
WITH looked AS MATERIALIZED (
    SELECT id, finished_at, thread_id, message_id, kind, outcome, reason, engine,
           jsonb_path_exists(attempts, '$[*] ? (@.ok == false && !(@.skipped == true))') AS failed, attempts
      FROM et_turns WHERE id < $1 ORDER BY id DESC LIMIT $2
),
stretch AS (
    SELECT count(*) AS looked, min(id) AS reached, min(finished_at) AS since FROM looked
)
SELECT s.looked, s.reached, s.since, l.id, l.finished_at AS at, l.thread_id, l.message_id, l.kind, l.outcome, l.reason,
       l.engine, l.attempts
  FROM stretch s
  LEFT JOIN looked l ON l.failed
 ORDER BY l.id DESC
