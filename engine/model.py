"""The words everybody here uses: statuses, outcomes, failure classes, the AI trace.

Names and JSON keys are contracts with other programs; they are not to be renamed.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_serializer

#: The account of a channel that has only one.
DEFAULT_ACCOUNT = "default"
#: The language model providers; names that a routing may use.
PROVIDERS = ("uniapi", "zai")


class InboundStatus(StrEnum):
    """`et_messages.delivery_status` of an inbound row."""

    RECEIVED = "received"
    PROCESSING = "inbound_processing"
    AI_REPLIED = "inbound_ai_replied"
    HUMAN_TAKEOVER = "inbound_human_takeover"
    ERROR = "inbound_error"


class OutboundStatus(StrEnum):
    """`et_outbound_queue.status`, mirrored into the outbound message's `delivery_status`."""

    QUEUED = "queued"
    PROCESSING = "processing"
    SENT = "sent"
    ACCEPTED = "accepted"
    RETRY_SCHEDULED = "retry_scheduled"
    FAILED = "failed"


#: Every legal step of an inbound row; anything else is refused by the database.
INBOUND_TRANSITIONS: dict[InboundStatus, frozenset[InboundStatus]] = {
    InboundStatus.RECEIVED: frozenset({InboundStatus.PROCESSING, InboundStatus.HUMAN_TAKEOVER}),
    InboundStatus.PROCESSING: frozenset(
        {
            InboundStatus.AI_REPLIED,
            InboundStatus.HUMAN_TAKEOVER,
            InboundStatus.ERROR,
            InboundStatus.RECEIVED,
        }
    ),
    InboundStatus.ERROR: frozenset({InboundStatus.RECEIVED, InboundStatus.HUMAN_TAKEOVER}),
    InboundStatus.HUMAN_TAKEOVER: frozenset({InboundStatus.RECEIVED}),
    InboundStatus.AI_REPLIED: frozenset(),
}

#: Every legal step of a queue row; anything else is refused by the database.
OUTBOUND_TRANSITIONS: dict[OutboundStatus, frozenset[OutboundStatus]] = {
    OutboundStatus.QUEUED: frozenset({OutboundStatus.PROCESSING, OutboundStatus.FAILED}),
    OutboundStatus.PROCESSING: frozenset(
        {
            OutboundStatus.SENT,
            OutboundStatus.ACCEPTED,
            OutboundStatus.RETRY_SCHEDULED,
            OutboundStatus.FAILED,
            OutboundStatus.QUEUED,
        }
    ),
    OutboundStatus.RETRY_SCHEDULED: frozenset({OutboundStatus.QUEUED, OutboundStatus.FAILED}),
    OutboundStatus.ACCEPTED: frozenset({OutboundStatus.SENT, OutboundStatus.FAILED}),
    OutboundStatus.FAILED: frozenset({OutboundStatus.QUEUED, OutboundStatus.SENT}),
    OutboundStatus.SENT: frozenset(),
}


class Outcome(StrEnum):
    """What became of a send (`et_outbound_queue.outcome`). `unknown` is never resent by itself."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"


class TurnKind(StrEnum):
    """Why a turn was run."""

    LIVE = "live"
    REPLAY = "replay"
    DRY_RUN = "dry_run"
    DRAFT = "draft"


class TurnOutcome(StrEnum):
    """How a turn ended."""

    REPLIED = "replied"
    TAKEOVER = "takeover"
    ERROR = "error"
    SUPERSEDED = "superseded"
    DRY_RUN = "dry_run"
    DRAFTED = "drafted"
    LOST_CLAIM = "lost_claim"
    RETRY = "retry"


class FailureClass(StrEnum):
    """Why an LLM call failed. The class, not the HTTP status, decides what happens next."""

    MONEY = "money"
    AUTH = "auth"
    RATE = "rate"
    QUOTA = "quota"
    REQUEST = "request"
    CONTENT = "content"
    TRANSIENT = "transient"
    STARVED = "starved"
    EMPTY = "empty"


class Usage(BaseModel):
    """Token counts of one answer, and the provider's own record of them, whole."""

    model_config = ConfigDict(extra="forbid")

    prompt_tokens: int | None = Field(default=None, ge=0)
    completion_tokens: int | None = Field(default=None, ge=0)
    total_tokens: int | None = Field(default=None, ge=0)
    raw_usage: dict[str, Any] = Field(default_factory=dict)
    estimated_cost_usd: float | None = Field(default=None, ge=0)
    """USD at list price, frozen at the moment of the turn; None when the price is unknown."""


class AITrace(BaseModel):
    """`raw_payload.ai_trace` of an AI-written outbound row: exactly these keys, no others."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal["1.0"] = "1.0"
    task: str
    provider: str
    model: str
    usage: Usage
    context_prompt: str | None = None
    """Only with the platform setting `record_context_prompt=true`."""
    recorded_at: datetime
    """UTC, written without an offset and always with microseconds."""

    @field_serializer("recorded_at")
    def _utc_microseconds(self, value: datetime) -> str:
        if value.tzinfo is not None:
            value = value.astimezone(UTC)
        return value.strftime("%Y-%m-%dT%H:%M:%S.%f")


class LLMMessage(NamedTuple):
    """One message of a chat-completions request."""

    role: Literal["system", "user", "assistant"]
    content: str


class LLMAttempt(BaseModel):
    """One call to a provider, won or lost; stored in `et_turns.attempts`."""

    provider: str
    model: str
    started_at: datetime
    latency_ms: int
    ok: bool
    failure: FailureClass | None = None
    http_status: int | None = None
    error: str | None = None
    """What the far end said, sanitised and cut; never a secret."""
    finish_reason: str | None = None
    request_id: str | None = None
    usage: Usage | None = None
    skipped: bool = False
    """True when the provider was not called: its circuit was open, or no time was left."""


class LLMResult(BaseModel):
    """What the router gives back for a task: the text, or why there is none, and every attempt."""

    text: str | None
    provider: str | None = None
    """Who answered; without an answer, who was paid last, and None when nobody was. The same of the next two."""
    model: str | None = None
    usage: Usage | None = None
    cost_usd: Decimal | None = None
    failure: FailureClass | None = None
    error: str | None = None
    attempts: list[LLMAttempt] = Field(default_factory=list)


class Blocker(BaseModel):
    """One reason why the engine is not ready, and how to clear it."""

    model_config = ConfigDict(frozen=True)

    code: str
    """Short and stable, e.g. `schema.column_missing`."""
    what: str
    where: str
    remedy: str


class ComponentHealth(BaseModel):
    """Health of an LLM provider or of a channel account."""

    name: str
    kind: Literal["llm", "channel"]
    state: Literal["up", "degraded", "down", "unconfigured", "unknown"]
    detail: str = ""
    checked_at: datetime | None = None
    blocker: Blocker | None = None
    simulated: bool = False
    figures: dict[str, Any] = Field(default_factory=dict)


class WorkerSnapshot(BaseModel):
    """What the inbound worker of one engine is doing."""

    state: Literal["starting", "running", "paused", "blocked", "stopping"] = "starting"
    listening: bool = False
    """False: NOTIFY is out of order and work is found by polling only."""
    in_flight: int = 0
    in_flight_max: int = 0
    claimed: int = 0
    replied: int = 0
    takeovers: int = 0
    errors: int = 0
    retried: int = 0
    rescued: int = 0
    lost_claims: int = 0
    last_claim_at: datetime | None = None
    last_error: str | None = None
    last_error_at: datetime | None = None


class DispatcherSnapshot(BaseModel):
    """What the outbound dispatcher of one engine is doing."""

    state: Literal["starting", "running", "blocked", "stopping"] = "starting"
    in_flight: int = 0
    in_flight_max: int = 0
    sent: int = 0
    accepted: int = 0
    retried: int = 0
    failed: int = 0
    unknown: int = 0
    cancelled: int = 0
    paused_channels: list[str] = Field(default_factory=list)
    """channel/account pairs that are left alone until their far end is well again."""
    last_send_at: datetime | None = None
    last_error: str | None = None
    last_error_at: datetime | None = None


class EngineSnapshot(BaseModel):
    """One engine, as it tells of itself with every heartbeat (`et_engines.snapshot`)."""

    name: str
    version: str
    host: str
    pid: int
    started_at: datetime
    simulated: bool = False
    http_address: str | None = None
    inbound_worker: WorkerSnapshot = Field(default_factory=WorkerSnapshot)
    outbound_dispatcher: DispatcherSnapshot = Field(default_factory=DispatcherSnapshot)
    llm: list[ComponentHealth] = Field(default_factory=list)
    channels: list[ComponentHealth] = Field(default_factory=list)
    blockers: list[Blocker] = Field(default_factory=list)
    warnings: list[Blocker] = Field(default_factory=list)
    """What a person should know, though it is in nobody's way."""


class SwitchboardError(Exception):
    """An error a person can act on: what went wrong, and what to do about it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} {remedy}")
        self.what = what
        self.remedy = remedy
