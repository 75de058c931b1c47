"""The shape of the data: every table, column and plain index, as SQLAlchemy metadata.

Guards (unique indexes, checks, triggers) are in `sql/messaging_m1_unified_schema.sql`. `et_messages` and
`et_outbound_queue` are shared with other programs: the columns named in `CONTRACT_COLUMNS` are not ours to
rename. No foreign keys lead out of `et_messages`: a stranger's row must always be storable, and the worker
says what is wrong with it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.schema import SchemaItem

metadata = MetaData()

#: `et_messages` columns that other programs rely on.
CONTRACT_COLUMNS = (
    "id",
    "tenant_id",
    "lead_id",
    "thread_id",
    "channel",
    "direction",
    "text_content",
    "raw_payload",
    "delivery_status",
    "created_at",
    "updated_at",
    "llm_provider",
    "llm_model",
    "llm_prompt_tokens",
    "llm_completion_tokens",
    "llm_total_tokens",
    "llm_estimated_cost_usd",
)


def _id() -> Column[int]:
    return Column("id", BigInteger, Identity(), primary_key=True)


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=text("now()"))


def _at(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True))


def _text(name: str, default: str | None = None, *, null: bool = True) -> Column[str]:
    if default is None:
        return Column(name, Text, nullable=null)
    return Column(name, Text, nullable=False, server_default=text(f"'{default}'"))


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text("0"))


def _token(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text("false"))


def _json(name: str, default: str | None = None) -> Column[object]:
    if default is None:
        return Column(name, JSONB)
    return Column(name, JSONB, nullable=False, server_default=text(f"'{default}'::jsonb"))


def _usd(name: str, *, null: bool = True) -> Column[object]:
    if null:
        return Column(name, Numeric(12, 6))
    return Column(name, Numeric(14, 6), nullable=False, server_default=text("0"))


def _table(name: str, *items: SchemaItem, hot: bool = False) -> Table[Any]:
    """`hot` leaves room on each page, so that status changes stay within it (HOT updates)."""
    return Table(name, metadata, *items, postgresql_with={"fillfactor": 80} if hot else {})


tenants = _table(
    "et_tenants",
    _id(),
    _text("name", null=False),
    _usd("daily_budget_usd"),
    _flag("paused"),
    _now("created_at"),
)

workspaces = _table(
    "et_workspaces",
    _id(),
    Column("tenant_id", BigInteger, ForeignKey("et_tenants.id"), nullable=False),
    _text("name", null=False),
    _text("timezone", "UTC"),
    Column("quiet_from", Text),  # local time HH:MM; quiet hours may pass midnight
    Column("quiet_to", Text),
    _now("created_at"),
)

agents = _table(
    "et_agents",
    _id(),
    Column("tenant_id", BigInteger, ForeignKey("et_tenants.id"), nullable=False),
    Column("workspace_id", BigInteger, ForeignKey("et_workspaces.id"), nullable=False),
    _text("name", null=False),
    Column("active_version", Integer, nullable=False, server_default=text("1")),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    _text("mode", "auto"),  # auto: replies; suggest: drafts for the operator
    _now("created_at"),
)

agent_versions = _table(
    "et_agent_versions",
    Column("agent_id", BigInteger, ForeignKey("et_agents.id"), nullable=False),
    Column("version", Integer, nullable=False),
    _text("prompt", null=False),
    _json("policy", "{}"),
    _json("routing"),
    _text("note"),
    _text("created_by", "system"),
    _now("created_at"),
    PrimaryKeyConstraint("agent_id", "version"),
)

leads = _table(
    "et_leads",
    _id(),
    Column("tenant_id", BigInteger, nullable=False),
    _text("name"),
    _at("opted_out_at"),
    _now("created_at"),
)

lead_addresses = _table(
    "et_lead_addresses",
    Column("tenant_id", BigInteger, nullable=False),
    _text("channel", null=False),
    _text("address", null=False),
    Column("lead_id", BigInteger, nullable=False),
    _now("created_at"),
    PrimaryKeyConstraint("tenant_id", "channel", "address"),
    Index("et_lead_addresses_lead", "lead_id"),
)

threads = _table(
    "et_threads",
    _id(),
    Column("tenant_id", BigInteger, nullable=False),
    Column("lead_id", BigInteger),
    _text("channel", null=False),
    _text("account", "default"),
    _text("address"),  # where replies go, as the channel knows it
    # Who answers. Every change of owner bumps the epoch; a reply of an older epoch is never written.
    _text("owner", "ai"),
    _text("operator"),
    _token("epoch"),
    _at("owner_since"),
    _at("auto_release_at"),
    _text("mode"),  # auto or suggest, in place of its agent's; NULL: as the agent
    _at("human_until"),  # when the last human stretch ended
    # The desk: what a thread is about, and until when it waits for nobody. `operator` is whose it is, whoever answers.
    _json("labels", "[]"),
    _at("snoozed_until"),
    _text("snoozed_by"),
    _at("paused_at"),  # the AI is silent here until it is resumed; nobody has taken over
    # The mailbox: whether the thread has work, from when on, and who holds it.
    _at("due_at"),
    _at("burst_started_at"),
    _text("holder"),
    _at("lease_until"),
    _token("claim_token"),
    _usd("reserved_usd"),
    _at("last_inbound_at"),
    _at("last_message_at"),
    _now("created_at"),
    # Claims read this one: oldest due first, only threads that nobody holds.
    Index("et_threads_due", "due_at", postgresql_where=text("due_at IS NOT NULL AND holder IS NULL")),
    Index("et_threads_held", "lease_until", postgresql_where=text("holder IS NOT NULL")),
    Index("et_threads_human", "owner_since", postgresql_where=text("owner = 'human'")),
    Index("et_threads_recent", "last_message_at"),
    # Lists of a label, of an operator and of what sleeps go through these, however long the past.
    Index("et_threads_labelled", "last_message_at", postgresql_where=text("labels <> '[]'::jsonb")),
    Index("et_threads_assigned", "last_message_at", postgresql_where=text("operator IS NOT NULL")),
    Index("et_threads_snoozed", "last_message_at", postgresql_where=text("snoozed_until IS NOT NULL")),
    Index("et_threads_paused", "paused_at", postgresql_where=text("paused_at IS NOT NULL")),
    hot=True,
)

messages = _table(
    "et_messages",
    _id(),
    Column("tenant_id", BigInteger, nullable=False),
    Column("lead_id", BigInteger),
    Column("thread_id", BigInteger),
    _text("channel", null=False),
    _text("direction", null=False),
    _text("text_content"),
    _json("raw_payload"),
    _text("delivery_status", null=False),
    _now("created_at"),
    _now("updated_at"),
    _text("llm_provider"),
    _text("llm_model"),
    Column("llm_prompt_tokens", Integer),
    Column("llm_completion_tokens", Integer),
    Column("llm_total_tokens", Integer),
    _usd("llm_estimated_cost_usd"),
    # Attributes of ours
    _text("account", "default"),
    _text("author"),  # customer, ai, human
    _text("provider_message_id"),
    _at("provider_timestamp"),
    _text("claimed_by"),
    _token("claim_token"),
    _at("lease_until"),
    _count("attempts"),
    Column("turn_head_id", BigInteger),  # of a burst's later messages: the first one, which carries the turn
    Column("in_reply_to", BigInteger),  # of a reply: the inbound message it answers
    _text("reason"),  # why it has this status, as a stable code
    _text("last_error"),
    _at("claimed_at"),
    _at("replied_at"),
    _at("send_started_at"),
    _at("sent_at"),
    _at("delivered_at"),
    _at("read_at"),
    Index("et_messages_thread", "thread_id", "id"),
    # Work in progress, by thread: what a claim takes, what a rescue looks for, what panes count.
    Index(
        "et_messages_open",
        "thread_id",
        "id",
        postgresql_where=text(
            "direction = 'inbound' AND delivery_status IN ('received', 'inbound_processing')"
        ),
    ),
    Index(
        "et_messages_unconfirmed",  # what the watch on receipts reads
        "channel",
        "sent_at",
        postgresql_where=text(
            "direction = 'outbound' AND delivered_at IS NULL AND delivery_status IN ('accepted', 'sent')"
        ),
    ),
    Index(
        "et_messages_trouble",
        "id",
        postgresql_where=text("direction = 'inbound' AND delivery_status = 'inbound_error'"),
    ),
    hot=True,
)

outbound_queue = _table(
    "et_outbound_queue",
    _id(),
    Column("message_id", BigInteger, nullable=False),
    _text("status", "queued"),
    _count("attempts"),
    _now("next_attempt_at"),
    _text("last_error"),
    _now("created_at"),
    _now("updated_at"),
    # Attributes of ours
    Column("tenant_id", BigInteger),
    Column("thread_id", BigInteger),
    _text("channel"),
    _text("account", "default"),
    _text("author", "human"),  # ai: sent only while the thread's epoch is still thread_epoch
    _token("thread_epoch"),
    _text("outcome"),
    _text("error_class"),
    _text("claimed_by"),
    _token("claim_token"),
    _at("lease_until"),
    _at("send_started_at"),
    _text("provider_message_id"),
    _json("other_provider_ids"),  # of a text sent in parts: the ids of the earlier ones
    _at("finished_at"),
    Index(
        "et_outbound_queue_parts",
        "other_provider_ids",
        postgresql_using="gin",
        postgresql_where=text("other_provider_ids IS NOT NULL"),
    ),
    Index("et_outbound_queue_due", "next_attempt_at", "id", postgresql_where=text("status = 'queued'")),
    Index("et_outbound_queue_retry", "next_attempt_at", postgresql_where=text("status = 'retry_scheduled'")),
    Index("et_outbound_queue_held", "lease_until", postgresql_where=text("status = 'processing'")),
    Index(
        "et_outbound_queue_open",
        "thread_id",
        "id",
        postgresql_where=text("status IN ('queued', 'processing', 'retry_scheduled')"),
    ),
    # Failures pile up: they are counted, and told apart, without a look at their rows.
    Index(
        "et_outbound_queue_failures",
        "id",
        postgresql_include=["outcome", "finished_at"],
        postgresql_where=text("status = 'failed'"),
    ),
    Index("et_outbound_queue_accepted", "finished_at", postgresql_where=text("status = 'accepted'")),
    hot=True,
)

turns = _table(
    "et_turns",
    _id(),
    Column("tenant_id", BigInteger, nullable=False),
    Column("thread_id", BigInteger, nullable=False),
    Column("message_id", BigInteger, nullable=False),  # the inbound it answers: the head of its burst
    Column("reply_message_id", BigInteger),
    Column("replay_of", BigInteger),
    _text("kind", "live"),
    _text("outcome", null=False),
    _text("reason"),
    _text("error"),
    Column("agent_id", BigInteger),
    Column("agent_version", Integer),
    _text("task", "conversation"),
    _text("provider"),
    _text("model"),
    _json("attempts", "[]"),
    _json("verdicts", "[]"),  # rules that passed by name, the others with all they said (policy.stored)
    _json("context", "{}"),
    _text("context_prompt"),
    _text("draft"),
    _at("draft_discarded_at"),
    Column("prompt_tokens", Integer),
    Column("completion_tokens", Integer),
    Column("total_tokens", Integer),
    _usd("cost_usd"),
    _count("burst"),
    _token("claim_token"),
    _text("engine"),
    _flag("simulated"),
    _at("started_at"),
    _at("context_at"),  # when the prompt was ready
    _at("answered_at"),  # when the router had an answer or gave up
    _now("finished_at"),
    Index("et_turns_message", "message_id"),
    Index("et_turns_thread", "thread_id", "id"),
    Index("et_turns_prompts", "id", postgresql_where=text("context_prompt IS NOT NULL")),  # for retention
    # Takeovers, errors and drafts are few beside replies; panes list them without a scan.
    Index("et_turns_notable", "id", postgresql_where=text("outcome <> 'replied'")),
)

what_ifs = _table(
    "et_what_ifs",
    _id(),
    Column("agent_id", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    _text("prompt"),  # tried in place of the version's
    _json("routing"),  # the same
    _text("filter", ""),  # as it was typed
    _text("state", "running"),  # running, paused, cancelled, done
    _text("note"),  # why it paused
    _count("total"),
    _usd("estimate_usd"),
    _text("started_by", null=False),
    _now("created_at"),
    _at("finished_at"),
    Index("et_what_ifs_agent", "agent_id", "id"),
)

what_if_items = _table(
    "et_what_if_items",
    Column("what_if_id", BigInteger, ForeignKey("et_what_ifs.id"), nullable=False),
    Column("message_id", BigInteger, nullable=False),
    Column("turn_id", BigInteger),  # the dry run
    Column("old_turn_id", BigInteger),  # what it is compared with
    _text("outcome"),
    _text("problem"),  # why there was no run
    _token("claim_token"),
    _at("lease_until"),
    PrimaryKeyConstraint("what_if_id", "message_id"),
    Index(
        "et_what_if_items_waiting",
        "what_if_id",
        "message_id",
        postgresql_where=text("outcome IS NULL AND problem IS NULL"),
    ),
    hot=True,
)

usage_hourly = _table(
    "et_usage_hourly",
    Column("hour", DateTime(timezone=True), nullable=False),
    Column("tenant_id", BigInteger, nullable=False),
    Column("agent_id", BigInteger, nullable=False),
    _text("task", null=False),
    _text("provider", null=False),
    _text("model", null=False),
    _count("turns"),
    _count("unpriced"),
    _token("prompt_tokens"),
    _token("completion_tokens"),
    _usd("cost_usd", null=False),
    # Engines count in rows of their own, or each would wait for the other's commit.
    Column("shard", SmallInteger, nullable=False, server_default="0"),
    PrimaryKeyConstraint("hour", "tenant_id", "agent_id", "task", "provider", "model", "shard"),
    hot=True,
)

provider_balances = _table(
    "et_provider_balances",
    _text("provider", null=False),
    Column("hour", DateTime(timezone=True), nullable=False),  # one row an hour: the newest answer in it
    _now("asked_at"),
    _text("state", "asked"),  # of the newest question: asked, told, unlimited, untold, failed
    _text("problem"),
    _usd("balance_usd"),  # the newest that was told
    _at("told_at"),
    PrimaryKeyConstraint("provider", "hour"),
)

notes = _table(
    "et_notes",
    _id(),
    Column("thread_id", BigInteger, nullable=False),
    _text("author", null=False),
    _text("text_content", null=False),
    _now("created_at"),
    Index("et_notes_thread", "thread_id", "id"),
)

canned_replies = _table(
    "et_canned_replies",
    _id(),
    Column("tenant_id", BigInteger, nullable=False),
    _text("shortcut", null=False),
    _text("text_content", null=False),
    _now("created_at"),
    UniqueConstraint("tenant_id", "shortcut", name="et_canned_replies_shortcut"),
)

platform_settings = _table(
    "et_platform_settings",
    Column("key", Text, primary_key=True),
    _json("value"),
    _text("updated_by", "system"),
    _now("updated_at"),
)

channel_accounts = _table(
    "et_channel_accounts",
    _id(),
    _text("channel", null=False),
    _text("account", "default"),
    Column("tenant_id", BigInteger, nullable=False, server_default=text("1")),
    Column("workspace_id", BigInteger),
    Column("agent_id", BigInteger),
    Column("poll_cursor", BigInteger),  # Telegram: the next update to ask for
    _at("poll_cursor_at"),
    _text("state"),
    _text("detail"),
    _now("updated_at"),
    UniqueConstraint("channel", "account", name="et_channel_accounts_name"),
)

engines = _table(
    "et_engines",
    Column("name", Text, primary_key=True),
    _text("version"),
    _text("host"),
    Column("pid", Integer),
    _text("http_address"),
    _flag("simulated"),
    _now("started_at"),
    _now("heartbeat_at"),
    _at("stopped_at"),
    _json("snapshot", "{}"),
)

audit_log = _table(
    "et_audit_log",
    _id(),
    _now("at"),
    _text("actor", null=False),
    _text("origin"),  # host and, over SSH, the client's address
    _text("act", null=False),
    _text("subject", null=False),  # what it was done to, e.g. thread:12
    _json("before"),
    _json("after"),
    _text("note"),
    Index("et_audit_log_subject", "subject", "id"),
)

intake_quarantine = _table(
    "et_intake_quarantine",
    _id(),
    _now("at"),
    _text("channel", null=False),
    _text("account", "default"),
    _text("why", null=False),
    _text("body"),
)

receipts = _table(
    "et_pending_receipts",
    _id(),
    _now("at"),
    _text("channel", null=False),
    _text("account", "default"),
    _text("provider_message_id", null=False),
    Column("message_id", BigInteger),
    _text("status", null=False),
    _at("happened_at"),
    _text("error"),
    _flag("hand_over"),
    Index("et_pending_receipts_id", "channel", "provider_message_id"),
)

incidents = _table(
    "et_incidents",
    _id(),
    _text("rule", null=False),
    _text("subject", null=False),
    _text("what", null=False),
    _now("opened_at"),
    _now("seen_at"),  # when an engine last found it so
    _at("resolved_at"),
    # Open incidents are few beside those of the past; one may be open of each rule and subject.
    Index("et_incidents_open", "rule", "subject", unique=True, postgresql_where=text("resolved_at IS NULL")),
)

alert_deliveries = _table(
    "et_alert_deliveries",
    _id(),
    Column("incident_id", BigInteger, ForeignKey("et_incidents.id", ondelete="CASCADE"), nullable=False),
    _text("target", null=False),  # webhook, command
    _text("event", null=False),  # opened, resolved
    _text("status", "pending"),  # pending, done, failed
    _count("attempts"),
    _now("next_attempt_at"),
    _text("last_error"),
    _now("created_at"),
    _at("finished_at"),
    UniqueConstraint("incident_id", "target", "event", name="et_alert_deliveries_once"),
    Index("et_alert_deliveries_due", "next_attempt_at", postgresql_where=text("status = 'pending'")),
)

retention = _table(
    "et_retention",
    Column("kind", Text, primary_key=True),
    Column("through", BigInteger, nullable=False, server_default=text("0")),  # rows up to here have been seen
    _at("ran_at"),
    _text("ran_by"),
    Column("gone", BigInteger),  # by the last run
)

schema_runs = _table(
    "et_schema_runs",
    _id(),
    _now("started_at"),
    _at("finished_at"),
    _text("actor"),
    _text("fingerprint"),
    _flag("ok"),
    _json("steps", "[]"),
    _json("blockers", "[]"),
    _json("drift", "[]"),
)
