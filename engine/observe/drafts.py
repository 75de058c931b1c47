"""Drafts of the AI that wait for a person to send, change or discard them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Pool, fetch

LOOKED_AT = 20_000
"""Turns that ended without a reply, of which drafts are looked for; the newest."""


class WaitingDraft(BaseModel):
    """A text of the AI that was not sent. Texts and names are foreign."""

    model_config = ConfigDict(frozen=True)

    turn_id: int
    thread_id: int
    message_id: int
    """The customer's message that it answers."""
    channel: str
    who: str
    """The customer's name, else address."""
    owner: str
    """`ai` or `human`: who answers the conversation."""
    operator: str | None
    reason: str | None
    """`suggested` needs no takeover to be sent."""
    asked: str
    text: str
    model: str | None
    finished_at: datetime
    stale: bool
    """The customer has written more than it answers."""


async def waiting_drafts(pool: Pool, thread_id: int | None = None, limit: int = 100) -> list[WaitingDraft]:
    """The draft of each conversation that has one, the newest first; of one conversation or of all."""
    async with pool.connection() as connection:
        found = await fetch(connection, "waiting_drafts", LOOKED_AT, thread_id, limit)
    return [WaitingDraft(**row) for row in found]
