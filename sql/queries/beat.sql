-- An engine's heartbeat, with what it tells of itself.
-- $1 name  $2 version  $3 host  $4 pid  $5 HTTP address  $6 simulated  $7 started at  $8 snapshot, JSON
INSERT INTO et_engines AS e (name, version, host, pid, http_address, simulated, started_at, snapshot)
VALUES ($1, $2, $3, $4::integer, $5, $6, $7, $8::text::jsonb)
    ON CONFLICT (name) DO UPDATE
   SET heartbeat_at = now(), stopped_at = NULL, http_address = excluded.http_address,
       snapshot = excluded.snapshot
