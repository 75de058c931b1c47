"""Conversations as the inbox shows them: who waits, who answers, what was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from engine.database.connection import Pool, fetch
from engine.observe.views import TOP

SAID = 100
WINDOW = timedelta(hours=24)
WINDOWED = frozenset({"whatsapp_cloud"})
"""Channels that take free text only within `WINDOW` of the customer's last message."""
ALWAYS = datetime(1, 1, 2, tzinfo=UTC)
NEVER = datetime(9999, 12, 30, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ThreadRow:
    """A conversation in a list. Texts and names are foreign."""

    id: int
    tenant_id: int
    channel: str
    account: str
    lead_id: int | None
    address: str
    who: str
    """The customer's name, else address."""
    opted_out_at: datetime | None
    owner: str
    """`ai` or `human`."""
    operator: str | None
    """Whose it is, whoever answers it."""
    epoch: int
    owner_since: datetime | None
    auto_release_at: datetime | None
    """When the AI answers again by itself."""
    human_until: datetime | None
    due_at: datetime | None
    labels: list[str]
    snoozed_until: datetime | None
    """Until when it sleeps; None when it is awake."""
    snoozed_by: str | None
    thinking: bool
    """A turn of the AI is under way."""
    last_inbound_at: datetime | None
    """Starts the channel's window in which an answer is allowed."""
    last_message_at: datetime | None
    waiting: bool
    """The customer has the last word."""
    unread: int
    """Messages since the last answer; at most 20."""
    waiting_since: datetime | None
    """When the first of those came."""
    last_text: str
    last_author: str | None
    last_kind: str | None
    last_status: str | None
    last_reason: str | None
    mode: str | None = None
    """`auto` or `suggest`, in place of its agent's; None: as the agent."""
    drafted: bool = False
    """A text of the AI waits to be sent, changed or discarded."""
    paused: str | None = None
    """`thread` or `channel`: where the AI is paused; it answers nothing here until it is resumed."""

    @property
    def window_until(self) -> datetime | None:
        """Until when the channel takes an answer; None where it always does."""
        if self.channel not in WINDOWED:
            return None
        return self.last_inbound_at + WINDOW if self.last_inbound_at else ALWAYS


@dataclass(frozen=True, slots=True)
class Said:
    """A message or a private note of a conversation."""

    kind: str
    """`message` or `note`; ids are of one or the other."""
    id: int
    at: datetime
    author: str
    """`customer`, `ai`, `human`; of a note, who wrote it."""
    text: str
    direction: str | None = None
    status: str | None = None
    reason: str | None = None
    media: str | None = None
    queue_id: int | None = None
    outcome: str | None = None
    error: str | None = None
    operator: str | None = None
    """Who wrote it at a console."""
    model: str | None = None
    in_reply_to: int | None = None
    sent_at: datetime | None = None
    delivered_at: datetime | None = None
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A stretch of a conversation, the oldest first."""

    said: tuple[Said, ...]
    oldest: int
    """The lowest message id in it; ask for what is before it."""
    end: bool
    """The conversation begins here."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A text of the AI that was not sent."""

    turn_id: int
    message_id: int
    outcome: str
    reason: str | None
    text: str
    model: str | None
    finished_at: datetime
    stale: bool = False
    """The customer has written more than it answers."""


async def thread_rows(pool: Pool, ids: Sequence[int]) -> tuple[ThreadRow, ...]:
    """These conversations, in this order; those that do not exist are left out."""
    if not ids:
        return ()
    async with pool.connection() as connection:
        return tuple(ThreadRow(**row) for row in await fetch(connection, "thread_rows", list(ids)))


async def conversation(pool: Pool, thread_id: int, *, before: int = TOP, limit: int = SAID) -> Conversation:
    """What was said in a conversation before a message, with the private notes of that stretch."""
    async with pool.connection() as connection:
        rows = await fetch(connection, "conversation", thread_id, before, limit)
        end = len(rows) < limit
        since = ALWAYS if end else rows[-1]["at"]
        until = NEVER
        if before != TOP:
            found = await fetch(connection, "message_rows", [before])
            until = found[0]["created_at"] if found else NEVER
        notes = await fetch(connection, "conversation_notes", thread_id, since, until)
    said = [Said(kind="message", media=row.pop("kind"), **row) for row in rows]
    said += [Said(kind="note", **row) for row in notes]
    said.sort(key=lambda item: (item.at, item.kind == "note", item.id))
    return Conversation(tuple(said), rows[-1]["id"] if rows else before, end)


async def thread_draft(pool: Pool, thread_id: int) -> Draft | None:
    """The AI's latest text that was held back, while nothing has been said after it."""
    async with pool.connection() as connection:
        found = await fetch(connection, "thread_draft", thread_id)
        return Draft(**found[0]) if found else None
