-- Intake, mailbox, status machine and guards. Every step can be run again at any time.
-- A line "-- step: …" starts a step; a step that fails leaves the earlier schema as it was and is named.

-- step: function et_thread_for: the thread of a conversation, made when it is new
-- A known address belongs to its lead, so that two addresses of one person share a thread. A stranger's
-- thread is kept by address until the worker has made a lead of it.
CREATE OR REPLACE FUNCTION et_thread_for(
    p_tenant bigint, p_lead bigint, p_channel text, p_account text, p_address text
) RETURNS bigint LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_lead bigint := p_lead;
    v_thread bigint;
BEGIN
    IF v_lead IS NULL AND p_address IS NOT NULL THEN
        SELECT lead_id INTO v_lead FROM et_lead_addresses
         WHERE tenant_id = p_tenant AND channel = p_channel AND address = p_address;
    END IF;
    IF v_lead IS NOT NULL THEN
        SELECT id INTO v_thread FROM et_threads
         WHERE tenant_id = p_tenant AND lead_id = v_lead AND channel = p_channel AND account = p_account;
        IF v_thread IS NULL THEN
            INSERT INTO et_threads (tenant_id, lead_id, channel, account, address)
            VALUES (p_tenant, v_lead, p_channel, p_account, p_address)
            ON CONFLICT (tenant_id, lead_id, channel, account) WHERE lead_id IS NOT NULL
                DO UPDATE SET channel = excluded.channel
            RETURNING id INTO v_thread;
            IF p_address IS NOT NULL THEN
                INSERT INTO et_lead_addresses (tenant_id, channel, address, lead_id)
                VALUES (p_tenant, p_channel, p_address, v_lead) ON CONFLICT DO NOTHING;
            END IF;
        END IF;
    ELSE
        SELECT id INTO v_thread FROM et_threads
         WHERE tenant_id = p_tenant AND lead_id IS NULL AND channel = p_channel AND account = p_account
           AND address = coalesce(p_address, '');
        IF v_thread IS NULL THEN
            INSERT INTO et_threads (tenant_id, channel, account, address)
            VALUES (p_tenant, p_channel, p_account, coalesce(p_address, ''))
            ON CONFLICT (tenant_id, channel, account, address) WHERE lead_id IS NULL
                DO UPDATE SET channel = excluded.channel
            RETURNING id INTO v_thread;
        END IF;
    END IF;
    RETURN v_thread;
END $$;

-- step: function et_erased_id: what is left of a provider's id, which may hold a phone number
CREATE OR REPLACE FUNCTION et_erased_id(p_id text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT SET search_path FROM CURRENT AS $$
    SELECT 'erased:' || encode(sha256(convert_to(p_id, 'UTF8')), 'hex')
$$;

-- step: function et_sent_through: whether an account is the one that a message of an account leaves through
-- A channel's only account, whatever it is called, sends what names the account "default", or none.
CREATE OR REPLACE FUNCTION et_sent_through(p_channel text, p_message_account text, p_account text) RETURNS boolean
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT p_message_account = coalesce(p_account, 'default')
        OR (p_message_account = 'default'
            AND NOT EXISTS (SELECT FROM et_channel_accounts WHERE channel = p_channel AND account = 'default'))
$$;

-- step: function et_messages_intake: an inbound row gets its thread
CREATE OR REPLACE FUNCTION et_messages_intake() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NEW.delivery_status IS DISTINCT FROM 'received' THEN
        RAISE EXCEPTION 'an inbound message is inserted as received, not as %', NEW.delivery_status
            USING ERRCODE = 'check_violation', HINT = 'Insert it with delivery_status = ''received''.';
    END IF;
    -- What was erased is known by a digest of its id only, and does not come back by a redelivery.
    IF NEW.provider_message_id IS NOT NULL
       AND EXISTS (SELECT FROM et_messages
                    WHERE tenant_id = NEW.tenant_id AND channel = NEW.channel AND account = NEW.account
                      AND direction = 'inbound' AND provider_message_id = et_erased_id(NEW.provider_message_id)) THEN
        RETURN NULL;
    END IF;
    -- What only we write is not taken from elsewhere, nor is a time that no clock shows.
    NEW.claim_token := 0;
    NEW.attempts := 0;
    NEW.claimed_by := NULL;
    NEW.claimed_at := NULL;
    NEW.lease_until := NULL;
    NEW.turn_head_id := NULL;
    NEW.in_reply_to := NULL;
    NEW.replied_at := NULL;
    IF NEW.created_at IS NULL
       OR NEW.created_at NOT BETWEEN '2000-01-01' AND now() + interval '1 day' THEN
        NEW.created_at := now();
    END IF;
    -- A thread that is not there, or not this conversation's, would lose the message or show it to a stranger.
    IF NEW.thread_id IS NOT NULL
       AND NOT EXISTS (SELECT FROM et_threads
                        WHERE id = NEW.thread_id AND tenant_id = NEW.tenant_id AND channel = NEW.channel
                          AND account = NEW.account AND coalesce(lead_id = NEW.lead_id, true)) THEN
        NEW.thread_id := NULL;
    END IF;
    IF NEW.thread_id IS NULL THEN
        NEW.thread_id := et_thread_for(
            NEW.tenant_id, NEW.lead_id, NEW.channel, NEW.account, NEW.raw_payload->>'from');
    END IF;
    IF NEW.lead_id IS NULL THEN
        SELECT lead_id INTO NEW.lead_id FROM et_threads WHERE id = NEW.thread_id;
    END IF;
    NEW.author := coalesce(NEW.author, 'customer');
    RETURN NEW;
END $$;

-- step: function et_messages_mailbox: the thread learns that it has work, and the engines are woken
-- The quiet window is durable: due_at moves on with every message of a burst, up to a cap.
CREATE OR REPLACE FUNCTION et_messages_mailbox() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    v_quiet interval;
    v_cap interval;
BEGIN
    SELECT CASE WHEN jsonb_typeof(value->'seconds') = 'number'
                THEN make_interval(secs => least(greatest((value->>'seconds')::float, 0), 600)) END,
           CASE WHEN jsonb_typeof(value->'max_seconds') = 'number'
                THEN make_interval(secs => least(greatest((value->>'max_seconds')::float, 0), 3600)) END
      INTO v_quiet, v_cap
      FROM et_platform_settings WHERE key = 'quiet_window';
    v_quiet := coalesce(v_quiet, interval '2 seconds');
    v_cap := coalesce(v_cap, interval '10 seconds');
    UPDATE et_threads
       SET last_inbound_at = now(),
           last_message_at = now(),
           snoozed_until = NULL,
           snoozed_by = NULL,
           address = coalesce(nullif(address, ''), NEW.raw_payload->>'from', address),
           burst_started_at = CASE WHEN due_at IS NULL THEN now() ELSE burst_started_at END,
           due_at = CASE WHEN owner = 'human' THEN now()
                         WHEN due_at IS NULL THEN now() + least(v_quiet, v_cap)
                         ELSE least(now() + v_quiet, burst_started_at + v_cap) END
     WHERE id = NEW.thread_id;
    PERFORM pg_notify('et_inbound', NEW.id::text);
    RETURN NULL;
END $$;

-- step: function et_messages_status: only legal steps of a message's status
-- It looks at nothing but the row, so it needs no search_path of its own, which would cost more than it does.
CREATE OR REPLACE FUNCTION et_messages_status() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.direction IS DISTINCT FROM OLD.direction THEN
        RAISE EXCEPTION 'message % does not change from % to %', OLD.id, OLD.direction, NEW.direction
            USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.direction = 'inbound' THEN
        IF (OLD.delivery_status, NEW.delivery_status) NOT IN (
            ('received', 'inbound_processing'), ('received', 'inbound_human_takeover'),
            ('inbound_processing', 'inbound_ai_replied'), ('inbound_processing', 'inbound_human_takeover'),
            ('inbound_processing', 'inbound_error'), ('inbound_processing', 'received'),
            ('inbound_error', 'received'), ('inbound_error', 'inbound_human_takeover'),
            ('inbound_human_takeover', 'received')) THEN
            RAISE EXCEPTION 'illegal step of inbound message %: % to %', OLD.id, OLD.delivery_status,
                NEW.delivery_status USING ERRCODE = 'check_violation';
        END IF;
        IF NEW.delivery_status = 'inbound_processing'
           AND (NEW.claim_token <= OLD.claim_token OR NEW.attempts <> OLD.attempts + 1) THEN
            RAISE EXCEPTION 'a claim of message % must raise its token and count its attempt', OLD.id
                USING ERRCODE = 'check_violation';
        END IF;
    ELSIF OLD.delivery_status IN ('queued', 'processing', 'sent', 'accepted', 'retry_scheduled', 'failed')
      AND (OLD.delivery_status, NEW.delivery_status) NOT IN (
            ('queued', 'processing'), ('queued', 'failed'),
            ('processing', 'sent'), ('processing', 'accepted'), ('processing', 'retry_scheduled'),
            ('processing', 'failed'), ('processing', 'queued'),
            ('retry_scheduled', 'queued'), ('retry_scheduled', 'failed'),
            ('accepted', 'sent'), ('accepted', 'failed'),
            ('failed', 'queued'), ('failed', 'sent')) THEN
        RAISE EXCEPTION 'illegal step of outbound message %: % to %', OLD.id, OLD.delivery_status,
            NEW.delivery_status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

-- step: function et_outbound_queue_status: only legal steps of a send's status
CREATE OR REPLACE FUNCTION et_outbound_queue_status() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('queued', 'processing'), ('queued', 'failed'),
        ('processing', 'sent'), ('processing', 'accepted'), ('processing', 'retry_scheduled'),
        ('processing', 'failed'), ('processing', 'queued'),
        ('retry_scheduled', 'queued'), ('retry_scheduled', 'failed'),
        ('accepted', 'sent'), ('accepted', 'failed'),
        ('failed', 'queued'), ('failed', 'sent')) THEN
        RAISE EXCEPTION 'illegal step of send %: % to %', OLD.id, OLD.status, NEW.status
            USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.status = 'processing' AND NEW.status = 'queued' AND OLD.send_started_at IS NOT NULL THEN
        RAISE EXCEPTION 'send % has started; it is never queued again by itself', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.status = 'failed' AND NEW.status = 'sent' AND OLD.outcome IS DISTINCT FROM 'unknown' THEN
        RAISE EXCEPTION 'send % has a known outcome (%)', OLD.id, OLD.outcome USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.status = 'processing' AND NEW.claim_token <= OLD.claim_token THEN
        RAISE EXCEPTION 'a claim of send % must raise its token', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;

-- step: function et_messages_reply_exists: an answered message has exactly one reply, and that a queue row
-- Its plan is made when the tables are small and kept when they have grown: it must go by index from the start.
CREATE OR REPLACE FUNCTION et_messages_reply_exists() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
    v_replies integer;
BEGIN
    SELECT count(*) INTO v_replies
      FROM et_messages r JOIN et_outbound_queue q ON q.message_id = r.id
     WHERE r.in_reply_to = coalesce(NEW.turn_head_id, NEW.id) AND r.direction = 'outbound' AND r.author = 'ai';
    IF v_replies <> 1 THEN
        RAISE EXCEPTION 'message % is answered but has % queued replies', NEW.id, v_replies
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;

-- step: function et_audit_log_append_only: the audit log is only ever added to
CREATE OR REPLACE FUNCTION et_audit_log_append_only() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('switchboard.retention', true) = 'on' THEN
        RETURN OLD;
    END IF;
    -- Who did what to which record stays, whatever is erased of its contents.
    IF TG_OP = 'UPDATE' AND current_setting('switchboard.erasure', true) = 'on' THEN
        IF (NEW.id, NEW.at, NEW.actor, NEW.act, NEW.subject) IS NOT DISTINCT FROM
           (OLD.id, OLD.at, OLD.actor, OLD.act, OLD.subject) THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;

-- step: function et_settings_changed: engines read changed settings at once
CREATE OR REPLACE FUNCTION et_settings_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_notify('et_settings', TG_TABLE_NAME);
    RETURN NULL;
END $$;

-- step: an index of a key's name that is no key, or was left half-built, is made again
DO $$ DECLARE
    v_index regclass;
BEGIN
    FOR v_index IN
        SELECT c.oid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE c.relname IN ('et_threads_lead', 'et_threads_stranger', 'et_messages_once', 'et_messages_one_reply',
                             'et_messages_one_turn', 'et_outbound_queue_message')
           AND pg_table_is_visible(c.oid) AND NOT (i.indisunique AND i.indisvalid)
    LOOP
        EXECUTE format('DROP INDEX %s', v_index);
    END LOOP;
END $$;

-- step: an index that et_outbound_queue_failures has replaced
DROP INDEX IF EXISTS et_outbound_queue_failed;

-- step: threads are one per lead, channel and account
CREATE UNIQUE INDEX IF NOT EXISTS et_threads_lead ON et_threads (tenant_id, lead_id, channel, account)
    WHERE lead_id IS NOT NULL;

-- step: threads are one per stranger's address
CREATE UNIQUE INDEX IF NOT EXISTS et_threads_stranger ON et_threads (tenant_id, channel, account, address)
    WHERE lead_id IS NULL;

-- step: a provider's message is stored once
CREATE UNIQUE INDEX IF NOT EXISTS et_messages_once
    ON et_messages (tenant_id, channel, account, provider_message_id)
    WHERE direction = 'inbound' AND provider_message_id IS NOT NULL;

-- step: a receipt finds its message
CREATE INDEX IF NOT EXISTS et_messages_sent_id ON et_messages (channel, provider_message_id)
    WHERE direction = 'outbound' AND provider_message_id IS NOT NULL;

-- step: one AI reply per inbound message
CREATE UNIQUE INDEX IF NOT EXISTS et_messages_one_reply ON et_messages (in_reply_to)
    WHERE direction = 'outbound' AND author = 'ai' AND in_reply_to IS NOT NULL;

-- step: one turn per thread
CREATE UNIQUE INDEX IF NOT EXISTS et_messages_one_turn ON et_messages (thread_id)
    WHERE direction = 'inbound' AND delivery_status = 'inbound_processing' AND turn_head_id IS NULL;

-- step: one queue row per message
CREATE UNIQUE INDEX IF NOT EXISTS et_outbound_queue_message ON et_outbound_queue (message_id);

-- step: a message in processing has a lease, and no other has
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'et_messages_lease'
                      AND conrelid = 'et_messages'::regclass) THEN
        ALTER TABLE et_messages ADD CONSTRAINT et_messages_lease CHECK (
            (direction = 'inbound' AND delivery_status = 'inbound_processing') = (lease_until IS NOT NULL)
        ) NOT VALID;
    END IF;
END $$;

-- step: a send in processing has a lease, and no other has
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'et_outbound_queue_lease'
                      AND conrelid = 'et_outbound_queue'::regclass) THEN
        ALTER TABLE et_outbound_queue ADD CONSTRAINT et_outbound_queue_lease CHECK (
            (status = 'processing') = (lease_until IS NOT NULL)) NOT VALID;
    END IF;
END $$;

-- step: outcomes are known words, and an unknown one is failed
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'et_outbound_queue_outcome'
                      AND conrelid = 'et_outbound_queue'::regclass) THEN
        ALTER TABLE et_outbound_queue ADD CONSTRAINT et_outbound_queue_outcome CHECK (
            (outcome IS NULL OR outcome IN ('confirmed', 'rejected', 'unknown', 'cancelled'))
            AND (outcome IS DISTINCT FROM 'unknown' OR status = 'failed')) NOT VALID;
    END IF;
END $$;

-- step: a thread is owned by the AI or by a person, and held with a lease
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'et_threads_owner'
                      AND conrelid = 'et_threads'::regclass) THEN
        ALTER TABLE et_threads ADD CONSTRAINT et_threads_owner CHECK (
            owner IN ('ai', 'human') AND (holder IS NULL) = (lease_until IS NULL)) NOT VALID;
    END IF;
END $$;

-- step: trigger: intake
CREATE OR REPLACE TRIGGER et_messages_intake BEFORE INSERT ON et_messages
    FOR EACH ROW WHEN (NEW.direction = 'inbound') EXECUTE FUNCTION et_messages_intake();

-- step: trigger: mailbox and NOTIFY
CREATE OR REPLACE TRIGGER et_messages_mailbox AFTER INSERT ON et_messages
    FOR EACH ROW WHEN (NEW.direction = 'inbound') EXECUTE FUNCTION et_messages_mailbox();

-- step: trigger: status machine of messages
CREATE OR REPLACE TRIGGER et_messages_status BEFORE UPDATE ON et_messages
    FOR EACH ROW WHEN (OLD.delivery_status IS DISTINCT FROM NEW.delivery_status
                       OR OLD.direction IS DISTINCT FROM NEW.direction)
    EXECUTE FUNCTION et_messages_status();

-- step: trigger: status machine of sends
CREATE OR REPLACE TRIGGER et_outbound_queue_status BEFORE UPDATE ON et_outbound_queue
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION et_outbound_queue_status();

-- step: trigger: an answered message has its reply when the transaction ends
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'et_messages_reply_exists'
                      AND tgrelid = 'et_messages'::regclass) THEN
        CREATE CONSTRAINT TRIGGER et_messages_reply_exists AFTER UPDATE ON et_messages
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
            WHEN (NEW.delivery_status = 'inbound_ai_replied'
                  AND OLD.delivery_status IS DISTINCT FROM NEW.delivery_status)
            EXECUTE FUNCTION et_messages_reply_exists();
    END IF;
END $$;

-- step: trigger: append-only audit log
CREATE OR REPLACE TRIGGER et_audit_log_append_only BEFORE UPDATE OR DELETE ON et_audit_log
    FOR EACH ROW EXECUTE FUNCTION et_audit_log_append_only();

-- step: trigger: the audit log is not truncated
CREATE OR REPLACE TRIGGER et_audit_log_no_truncate BEFORE TRUNCATE ON et_audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION et_audit_log_append_only();

-- step: triggers: changed settings wake the engines
CREATE OR REPLACE TRIGGER et_platform_settings_changed AFTER INSERT OR UPDATE OR DELETE ON et_platform_settings
    FOR EACH STATEMENT EXECUTE FUNCTION et_settings_changed();
CREATE OR REPLACE TRIGGER et_tenants_changed AFTER INSERT OR UPDATE OR DELETE ON et_tenants
    FOR EACH STATEMENT EXECUTE FUNCTION et_settings_changed();
CREATE OR REPLACE TRIGGER et_workspaces_changed AFTER INSERT OR UPDATE OR DELETE ON et_workspaces
    FOR EACH STATEMENT EXECUTE FUNCTION et_settings_changed();
CREATE OR REPLACE TRIGGER et_agents_changed AFTER INSERT OR UPDATE OR DELETE ON et_agents
    FOR EACH STATEMENT EXECUTE FUNCTION et_settings_changed();
CREATE OR REPLACE TRIGGER et_agent_versions_changed AFTER INSERT OR UPDATE OR DELETE ON et_agent_versions
    FOR EACH STATEMENT EXECUTE FUNCTION et_settings_changed();
CREATE OR REPLACE TRIGGER et_channel_accounts_changed
    AFTER INSERT OR UPDATE OF tenant_id, workspace_id, agent_id OR DELETE ON et_channel_accounts
    FOR EACH STATEMENT EXECUTE FUNCTION et_settings_changed();

-- step: usage is counted by each engine in rows of its own
DO $$ DECLARE
    v_key name;
BEGIN
    SELECT conname INTO v_key FROM pg_constraint
     WHERE conrelid = 'et_usage_hourly'::regclass AND contype = 'p'
       AND NOT EXISTS (SELECT FROM pg_attribute
                        WHERE attrelid = conrelid AND attname = 'shard' AND attnum = ANY (conkey));
    IF FOUND THEN
        EXECUTE format('ALTER TABLE et_usage_hourly DROP CONSTRAINT %I, ADD PRIMARY KEY '
                       '(hour, tenant_id, agent_id, task, provider, model, shard)', v_key);
    END IF;
END $$;

-- step: hot tables are vacuumed early
ALTER TABLE et_messages SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE et_outbound_queue SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE et_threads SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.05);

-- step: a first tenant with its workspace and agent
INSERT INTO et_tenants (name) SELECT 'Default' WHERE NOT EXISTS (SELECT FROM et_tenants);
INSERT INTO et_workspaces (tenant_id, name)
SELECT min(id), 'Default' FROM et_tenants WHERE NOT EXISTS (SELECT FROM et_workspaces) HAVING count(*) > 0;
INSERT INTO et_agents (tenant_id, workspace_id, name)
SELECT tenant_id, id, 'Assistant' FROM et_workspaces
 WHERE NOT EXISTS (SELECT FROM et_agents) ORDER BY id LIMIT 1;
INSERT INTO et_agent_versions (agent_id, version, prompt, note)
SELECT id, 1,
       'You answer customers of a small business in a chat. Be friendly, brief and concrete; use the customer''s '
       'language. Say so when you do not know something, and offer that a colleague will get back to them. '
       'Never invent prices, dates or promises.',
       'first version'
  FROM et_agents a WHERE NOT EXISTS (SELECT FROM et_agent_versions v WHERE v.agent_id = a.id);

-- step: messages that came while there was no trigger get their threads
UPDATE et_messages m
   SET thread_id = et_thread_for(tenant_id, lead_id, channel, account, raw_payload->>'from')
 WHERE direction = 'inbound' AND delivery_status = 'received'
   AND NOT EXISTS (SELECT FROM et_threads t
                    WHERE t.id = m.thread_id AND t.tenant_id = m.tenant_id AND t.channel = m.channel
                      AND t.account = m.account);

-- step: threads with unanswered messages are due
UPDATE et_threads t SET due_at = now(), burst_started_at = now()
 WHERE t.due_at IS NULL AND t.holder IS NULL
   AND t.id IN (SELECT thread_id FROM et_messages
                 WHERE direction = 'inbound' AND delivery_status = 'received');
