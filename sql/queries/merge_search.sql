-- Merge the search indexes' lists of new entries. $1 lock of whoever works on these indexes  $2 their names
-- Another engine that is at it already is left alone.
SELECT sum(gin_clean_pending_list(c.oid)) AS pages
  FROM (SELECT pg_try_advisory_xact_lock($1) AS mine) l
  JOIN pg_class c ON l.mine AND c.relname = ANY ($2::text[]) AND pg_table_is_visible(c.oid)
