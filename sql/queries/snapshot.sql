-- Which transactions are visible: it changes with every commit that has written, of any session.
SELECT pg_current_snapshot()::text AS snapshot
