-- Lock a thread, before anything of it is looked at: what a running turn or send just committed is seen after.
-- $1 thread
SELECT id, tenant_id, lead_id, channel, account, owner, operator, epoch, owner_since, auto_release_at
  FROM et_threads WHERE id = $1 FOR UPDATE
