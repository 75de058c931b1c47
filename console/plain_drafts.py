"""What `switchboard drafts` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.observe.drafts import WaitingDraft
    from engine.operator.drafts import Drafted
    from engine.operator.reply import SentReply

TEXT = 4_000


def draft_lines(draft: WaitingDraft) -> Iterator[str]:
    """A draft with what it answers."""
    whose = "the AI answers" if draft.owner == "ai" else f"{_line(draft.operator or 'a person', 40)} answers"
    stale = "  ! the customer has written since" if draft.stale else ""
    yield (
        f"draft {draft.turn_id}  thread {draft.thread_id}  {_line(draft.who, 40)}  {draft.channel}  "
        f"{draft.finished_at:%Y-%m-%d %H:%M} UTC  {whose}{stale}"
    )
    yield f"  asked  {_line(draft.asked)}"
    yield f"  draft  {_line(draft.text, TEXT)}"


def drafted_lines(made: Drafted) -> Iterator[str]:
    """A draft that was asked for, and what to do with it."""
    yield f"draft {made.turn_id} for message {made.message_id}, nothing is sent"
    yield f"  {_line(made.text, TEXT)}"
    yield f"send it: switchboard drafts send {made.turn_id} (--edit, --text …)"


def sent_line(sent: SentReply) -> str:
    """A reply on its way."""
    return f"Message {sent.message_id} is queued as your reply"


def _line(text: str, limit: int = 300) -> str:
    from engine.observe import one_line

    return one_line(text, limit)
