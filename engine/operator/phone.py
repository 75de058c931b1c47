"""A message that the owner typed on the phone, which counts as a takeover."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Connection, fetch, to_json
from engine.operator.audit import audit, automatic
from engine.operator.takeover import AUTO_RELEASE_MINUTES, check_minutes, lock_thread, note_human_word, take
from engine.text import clean_for_storage, clean_json


class PhoneReply(BaseModel):
    """A stored message from the phone."""

    model_config = ConfigDict(frozen=True)

    message_id: int
    took_over: bool
    """False: a person owned the thread already."""


async def take_over_from_phone(
    connection: Connection,
    thread_id: int,
    text: str,
    *,
    provider_message_id: str | None = None,
    at: datetime | None = None,
    by_hand: bool = False,
    raw: dict[str, Any] | None = None,
    auto_release_minutes: float | None = AUTO_RELEASE_MINUTES,
) -> PhoneReply | None:
    """Store a message from our own account and give its thread to the person who typed it.

    Runs in the caller's transaction. Returns None and changes nothing when the message is one of ours coming
    back, or stored already. `by_hand` is True when the provider says that no program sent it; otherwise a
    text equal to one that left a moment ago counts as its echo. `at` is the far end's time. Raises NotFound.
    """
    check_minutes(auto_release_minutes)
    text = clean_for_storage(text)
    thread = await lock_thread(connection, thread_id)
    if await fetch(connection, "find_echo", thread_id, thread["channel"], provider_message_id, text, by_hand):
        return None
    phone = automatic("phone")
    took_over = thread["owner"] == "ai"
    if took_over:
        await take(connection, phone, thread, auto_release_minutes, "takeover.phone", "answered on the phone")
    payload = to_json(clean_json(raw or {}))
    stored = await fetch(
        connection, "insert_human_message", thread_id, text, "sent", payload, provider_message_id, at
    )
    message_id = int(stored[0]["id"])
    await note_human_word(connection, thread_id, phone, auto_release_minutes)
    if not took_over:
        await audit(connection, phone, "reply.phone", f"thread:{thread_id}", None, {"message_id": message_id})
    return PhoneReply(message_id=message_id, took_over=took_over)
