"""What search, label, assign and snooze say on a plain terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.observe.finding import Found, FoundMessage
    from engine.operator.assignment import Assigned
    from engine.operator.snooze import Here, Snoozed


def found_lines(found: Found) -> Iterator[str]:
    """Conversations, then messages, each with its hits marked; every foreign text in them is safe already."""
    for thread in found.conversations:
        tail = [f"#{label}" for label in thread.labels] + (
            [f"→ {thread.operator}"] if thread.operator else []
        )
        yield _line(
            f"thread {thread.thread_id}  {thread.who}  {thread.address}  {thread.channel}  {' '.join(tail)}"
        )
    for message in found.messages:
        arrow = "→" if message.direction == "inbound" else "←"
        yield (
            f"{message.message_id:>8}  {message.at:%Y-%m-%d %H:%M}  {arrow} thread {message.thread_id}  "
            f"{_line(message.who, 24)}: {_marked(message)}"
        )
    if not found.conversations and not found.messages:
        yield f"Nothing found for {_line(found.words)}"
    if found.note:
        yield f"· {found.note}"
    if found.next_before is not None and found.messages:
        yield f"· older ones: --before {found.next_before}"


def assigned_line(done: Assigned) -> str:
    """Whose a conversation is now."""
    whose = f"{_line(done.operator)}'s" if done.operator else "nobody's"
    before = f"; it was {_line(done.previous)}'s" if done.changed and done.previous else ""
    answers = "the AI answers it" if done.owner == "ai" else "a person answers it"
    return f"Thread {done.thread_id} is {whose}{before}; {answers}"


def snoozed_line(done: Snoozed, there: Here) -> str:
    """Until when a conversation sleeps, in its workspace's time."""
    from zoneinfo import ZoneInfo

    if done.until is None:
        return f"Thread {done.thread_id} is awake" + ("" if done.previous else " already")
    local = done.until.astimezone(ZoneInfo(there.timezone))
    until = f"{local:%a %Y-%m-%d %H:%M} {there.timezone}"
    return f"Thread {done.thread_id} is asleep until {until}, or until the customer writes"


def _marked(message: FoundMessage) -> str:
    """The text with its hits set off: bold on a terminal, «so» elsewhere."""
    bold = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    begin, end = ("\x1b[1m", "\x1b[0m") if bold else ("«", "»")
    parts, place = [], 0
    for first, last in message.hits:
        parts += [message.text[place:first], begin, message.text[first:last], end]
        place = last
    return "".join([*parts, message.text[place:]])


def _line(text: str, limit: int = 200) -> str:
    from engine.observe import one_line

    return one_line(text, limit).rstrip()
