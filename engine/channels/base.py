"""What a channel is: the one protocol between the engine and WhatsApp, Telegram and the like.

The engine hands a channel an `Outgoing` and gets `Sent` or a `SendError` of a class that decides what
happens next; a channel hands the engine what came in, as `Inbound` and `Receipt`. Nothing here knows
the database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from engine.model import DEFAULT_ACCOUNT as DEFAULT_ACCOUNT
from engine.model import Blocker, ComponentHealth


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message on its way out."""

    message_id: int
    """Our `et_messages.id`; channels that can, carry it along, so that receipts name it."""
    queue_id: int
    tenant_id: int
    account: str
    to: str
    """The customer's address as the channel knows it: a phone number, chat id, JID …"""
    text: str
    reply_to: str | None = None
    """The provider's id of the message this one quotes."""
    attempt: int = 1
    """1 for the first try."""
    last_part: bool = True
    """False of a long text's earlier parts, whose receipts say nothing of the whole."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The far end took the message."""

    provider_message_id: str | None
    """The far end's id; of a text sent in parts, the last part's."""
    accepted: bool = False
    """True: taken without an id, or only queued over there, so that a receipt may still fail it: status
    `accepted`. False: done, status `sent`."""
    other_ids: tuple[str, ...] = ()
    """The ids of the earlier parts of a long text; echoes and receipts may name them."""


class SendFailure(StrEnum):
    """What a failed send means. Only the first three may be tried again."""

    NOT_SENT = "not_sent"
    """Nothing left this machine (refused, DNS, no connection in time)."""
    RATE = "rate"
    """The far end said: slower. `retry_after` is the earliest moment for the next try."""
    TRANSIENT = "transient"
    """The far end said in so many words that it did not take the message, and that this may pass."""
    PERMANENT = "permanent"
    """The far end will never take this message."""
    CHANNEL_DOWN = "channel_down"
    """The account cannot send anything (key refused, banned, session gone). Nothing was taken: stop the
    account, raise `blocker`, and send the message when health is back."""
    UNKNOWN = "unknown"
    """The request went out and no readable answer came back. Never sent again by the engine itself."""


RETRIABLE = frozenset({SendFailure.NOT_SENT, SendFailure.RATE, SendFailure.TRANSIENT})


class SendError(Exception):
    """A send that did not end in `Sent`. `message` is for people: no secret, no URL."""

    def __init__(
        self,
        kind: SendFailure,
        message: str,
        *,
        retry_after: float | None = None,
        blocker: Blocker | None = None,
        code: str | None = None,
        scope: Literal["recipient", "account"] = "account",
        needs_human: bool = False,
        sent_ids: tuple[str, ...] = (),
        service: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retry_after = retry_after
        """Seconds; a floor, not a promise."""
        self.blocker = blocker
        self.code = code
        """The far end's own code, e.g. `131047`."""
        self.scope = scope
        """Whom a `rate` slows: this recipient only, or the whole account."""
        self.needs_human = needs_human
        """The customer can still be reached, but not by the AI: hand the thread over."""
        self.sent_ids = sent_ids
        """The ids of a long text's parts that went out before."""
        self.outage = service or kind is SendFailure.NOT_SENT
        """Nothing is taken from anybody now (`service`), or was reached: it says nothing of this message."""


class PollError(Exception):
    """A poll that brought nothing. `message` is for people; with a `blocker`, a person must act."""

    def __init__(
        self, message: str, *, retry_after: float | None = None, blocker: Blocker | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        """Seconds."""
        self.blocker = blocker


class WebhookRefused(Exception):
    """A request that is not the far end's, or not for this channel. Answer `status`, store nothing."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """One message that came in, ready to be stored."""

    account: str
    address: str
    """The customer's address. Of a `from_me` message too: the other side of the chat."""
    provider_message_id: str
    text: str
    """What the customer wrote, or a medium's caption, or ""; storable, not yet sanitised for a screen."""
    provider_timestamp: datetime | None = None
    """UTC, by the far end's clock."""
    kind: str = "text"
    """`text`, or what it is instead: image, audio, video, document, sticker, location, contact, reaction …"""
    from_me: bool = False
    """Written from our own account: an echo of our send, or a person answering on the phone."""
    by_api: bool | None = None
    """Of a `from_me` message: sent through the API (our echo) or by hand. None where the far end does
    not say; then a known provider id tells the echo."""
    aliases: tuple[str, ...] = ()
    """Further addresses of the same customer (a LID beside the phone number)."""
    profile_name: str | None = None
    reply_to: str | None = None
    """The provider's id of the message quoted."""
    raw: dict[str, Any] = field(default_factory=dict)
    """This message as it came, storable as jsonb, without keys; `raw["from"]` is the address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A customer has changed the text of a message that came earlier."""

    account: str
    provider_message_id: str
    """Of the message that was changed."""
    text: str
    at: datetime | None = None
    """UTC, by the far end's clock."""


class ReceiptStatus(StrEnum):
    """What the far end says became of a message of ours."""

    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """News of a message of ours. They come out of order, twice, and before the send's own answer."""

    account: str
    provider_message_id: str
    status: ReceiptStatus
    message_id: int | None = None
    """Our `et_messages.id` where the far end echoes it: reconciles a send of unknown outcome."""
    at: datetime | None = None
    """UTC, by the far end's clock."""
    error_code: str | None = None
    error_text: str | None = None
    needs_human: bool = False
    """Of a failure: the customer can still be reached, but not by the AI."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Something authentic that could not be read; kept for a person to look at."""

    why: str
    body: str
    """Storable text, keys redacted, at most 20,000 characters."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """News that an account may not send, learned after messages had been taken."""

    blocker: Blocker
    """Its `where` is `channel/account`."""
    at: datetime | None = None
    """UTC, by the far end's clock; a redelivery may bring old news."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """Everything one webhook body or poll held."""

    inbounds: tuple[Inbound, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    ignored: int = 0
    """Things known and not for us: groups, status stories, events nobody asked for."""
    session_state: str | None = None
    """The account's session state, where the body announced one; worth a health check."""
    stops: tuple[Stopped, ...] = ()
    edits: tuple[Edit, ...] = ()


class Polled(NamedTuple):
    """What a poll brought. Commit the rows and `next_offset` together, then poll from there."""

    parsed: Parsed
    next_offset: int | None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an account of a channel can do."""

    receipts: bool
    webhook: bool
    polling: bool
    max_text: int
    """Longest text of one message, in `text_unit`; longer ones are sent in parts."""
    text_unit: Literal["characters", "utf16"] = "characters"
    window_24h: bool = False
    """Free text only within 24 hours of the customer's last message."""
    per_second: float | None = None
    """Messages the account may send each second."""
    recipient_gap_seconds: float = 0.0
    """Least time between two messages to the same recipient."""


class Channel(Protocol):
    """One account of one channel."""

    @property
    def name(self) -> str:
        """The channel: the value of `et_messages.channel`."""

    @property
    def account(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def send(self, outgoing: Outgoing, *, timeout: float) -> Sent:
        """Sends once, within `timeout` seconds. Raises SendError, nothing else."""

    async def health(self) -> ComponentHealth:
        """Asks the far end; never raises."""

    def parse_webhook(
        self, account: str, headers: Mapping[str, str], raw: bytes, *, path_secret: str | None = None
    ) -> Parsed:
        """Reads one webhook request addressed to `account`, checking that it is authentic first.

        `path_secret` is the URL's last segment where the far end cannot sign. Raises WebhookRefused;
        whatever is odd about an authentic body is quarantined instead.
        """

    async def aclose(self) -> None: ...


@runtime_checkable
class PollingChannel(Channel, Protocol):
    """A channel that is asked for news."""

    async def poll(self, offset: int | None, *, timeout: float) -> Polled:
        """Waits up to `timeout` seconds for news from `offset` on. Raises PollError, nothing else."""


@runtime_checkable
class ChallengedChannel(Channel, Protocol):
    """A channel whose far end asks, by GET, whether the webhook is ours."""

    def answer_challenge(self, query: Mapping[str, str]) -> str:
        """The text to answer with. Raises WebhookRefused."""


@runtime_checkable
class ResolvingChannel(Channel, Protocol):
    """A channel that knows people under several addresses, not all of which come with their messages."""

    async def resolve(self, address: str, *, timeout: float) -> str | None:
        """The address to prefer for the person at `address`, or None when there is no other. Never raises."""


def channel_blocker(channel: Channel, code: str, what: str, remedy: str) -> Blocker:
    """A blocker of one account; `code` is short and stable, e.g. `auth`."""
    return Blocker(
        code=f"channel.{code}", what=what, where=f"{channel.name}/{channel.account}", remedy=remedy
    )


def channel_health(
    channel: Channel,
    state: Literal["up", "degraded", "down", "unconfigured", "unknown"],
    detail: str = "",
    *,
    at: datetime | None = None,
    blocker: Blocker | None = None,
    simulated: bool = False,
) -> ComponentHealth:
    """Health of one account, under the name `channel/account`."""
    return ComponentHealth(
        name=f"{channel.name}/{channel.account}",
        kind="channel",
        state=state,
        detail=detail,
        checked_at=at,
        blocker=blocker,
        simulated=simulated,
    )
