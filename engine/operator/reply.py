"""What a person says: replies to the customer, drafts of the AI sent as one's own, private notes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Connection, Pool, Row, fetch, to_json
from engine.operator.audit import Operator, Refused, acting, audit, one, rows, storable_text
from engine.operator.takeover import (
    AUTO_RELEASE_MINUTES,
    check_minutes,
    lock_thread,
    note_human_word,
    owned_by_human,
)

REPLY_LIMIT = 20_000
"""Characters; channels send long texts in parts."""
NOTE_LIMIT = 20_000
SUGGESTED = "suggested"
"""The reason of a turn of an agent that only suggests; its draft needs no takeover."""


class SentReply(BaseModel):
    """A reply on its way."""

    model_config = ConfigDict(frozen=True)

    message_id: int
    queue_id: int


async def send_reply(
    pool: Pool,
    operator: Operator,
    thread_id: int,
    text: str,
    *,
    auto_release_minutes: float | None = AUTO_RELEASE_MINUTES,
) -> SentReply:
    """Queue a person's reply. Where a hand-back timer runs, it runs at least `auto_release_minutes` from now.

    Raises NotOwned when the AI answers the thread, BadInput, NotFound, ReadOnly.
    """
    check_minutes(auto_release_minutes)
    text = storable_text(text, "The reply", REPLY_LIMIT)
    async with acting(pool, operator) as connection:
        thread = await lock_thread(connection, thread_id)
        owned_by_human(thread)
        sent = await _say(connection, operator, thread_id, text, auto_release_minutes, {})
        await audit(
            connection,
            operator,
            "reply",
            f"thread:{thread_id}",
            None,
            {**sent.model_dump(), "characters": len(text)},
        )
        return sent


async def accept_draft(
    pool: Pool,
    operator: Operator,
    turn_id: int,
    text: str | None = None,
    *,
    auto_release_minutes: float | None = AUTO_RELEASE_MINUTES,
) -> SentReply:
    """Send the draft of a turn, or `text` in its place, as this person's reply; once only.

    The thread must be owned by a person, except for a draft of an agent that only suggests. Raises Refused,
    NotOwned, BadInput, NotFound, ReadOnly.
    """
    check_minutes(auto_release_minutes)
    async with acting(pool, operator) as connection:
        turn = await _lock_draft(connection, turn_id)
        said = storable_text(text if text is not None else turn["draft"], "The draft", REPLY_LIMIT)
        origin = {"turn_id": turn_id, "edited": said != turn["draft"].strip()}
        sent = await _say(connection, operator, turn["thread_id"], said, auto_release_minutes, origin)
        await rows(
            connection, "UPDATE et_turns SET reply_message_id = %s WHERE id = %s", sent.message_id, turn_id
        )
        await audit(
            connection,
            operator,
            "draft.accept",
            f"thread:{turn['thread_id']}",
            None,
            {**sent.model_dump(), **origin},
        )
        return sent


async def _lock_draft(connection: Connection, turn_id: int) -> Row:
    """The turn, its thread and itself locked in this order. Raises when its draft cannot be sent."""
    what = f"Turn {turn_id}"
    found = await one(connection, what, "SELECT thread_id FROM et_turns WHERE id = %s", turn_id)
    thread = await lock_thread(connection, found["thread_id"])
    turn = await one(
        connection,
        what,
        """SELECT t.thread_id, t.reply_message_id, t.reason, t.draft, t.draft_discarded_at,
                  (SELECT max(n.id) FROM et_turns n
                    WHERE n.thread_id = t.thread_id AND n.id > t.id AND n.kind <> 'dry_run'
                      AND n.draft <> '' AND n.reply_message_id IS NULL AND n.draft_discarded_at IS NULL) AS newer
             FROM et_turns t WHERE t.id = %s FOR UPDATE""",
        turn_id,
    )
    if not turn["draft"]:
        raise Refused(f"Turn {turn_id} left no draft.", "Write a reply instead.")
    if turn["reply_message_id"] is not None:
        raise Refused(
            f"The draft of turn {turn_id} was sent as message {turn['reply_message_id']}.",
            "Nothing is left to do.",
        )
    if turn["draft_discarded_at"] is not None:
        raise Refused(f"The draft of turn {turn_id} was discarded.", "Write a reply, or ask for a new draft.")
    if turn["newer"] is not None:
        raise Refused(f"The AI has drafted anew since turn {turn_id}.", "Look at the newer draft.")
    if turn["reason"] != SUGGESTED:
        owned_by_human(thread)
    return turn


async def _say(
    connection: Connection,
    operator: Operator,
    thread_id: int,
    text: str,
    minutes: float | None,
    extra: dict[str, Any],
) -> SentReply:
    """Store and queue a reply in a locked thread."""
    payload = to_json({"operator": operator.name, **extra})
    stored = await fetch(connection, "insert_human_message", thread_id, text, "queued", payload, None, None)
    message_id = int(stored[0]["id"])
    queued = await fetch(connection, "queue_human_message", message_id)
    await note_human_word(connection, thread_id, operator, minutes)
    return SentReply(message_id=message_id, queue_id=int(queued[0]["id"]))


async def add_note(pool: Pool, operator: Operator, thread_id: int, text: str) -> int:
    """Keep a private note with a thread; returns its id. Raises BadInput, NotFound, ReadOnly."""
    text = storable_text(text, "The note", NOTE_LIMIT)
    async with acting(pool, operator) as connection:
        await lock_thread(connection, thread_id)
        added = await rows(
            connection,
            "INSERT INTO et_notes (thread_id, author, text_content) VALUES (%s, %s, %s) RETURNING id",
            thread_id,
            operator.name,
            text,
        )
        note = int(added[0]["id"])
        await audit(connection, operator, "note", f"thread:{thread_id}", None, {"note_id": note})
        return note
