"""A conversation in the inbox's list: two lines.

● Anna Berger                      12m      who waits, how long; z 3h: asleep for so long
  ◆ you 40m ↺ 28m #vip · Where is it?       who answers, since when, until when; labels; the last words
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from zlib import crc32

from textual.content import Content

from console.clock import Clock
from console.sanitise import cell
from console.widgets.arranged_list import ArrangedList
from console.widgets.lines import fit
from console.words import BAD, BUSY, GOOD, MUTED, STRONG, WARN, Look

if TYPE_CHECKING:
    from engine.observe.threads import ThreadRow


HUES = ("#6a9fd8", "#b48ead", "#56a8a8", "#d08770", "#8fae6b", "#cf6f95")
"""Of labels; none of them is the colour of a state."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A conversation as the list shows it; what the clock changes is in it as text, so that only changes draw."""

    row: ThreadRow
    mine: bool
    wanting: bool
    """A person should look at it."""
    writing: bool
    """A text for it lies in the composer."""
    waits: str
    since: str
    back: str
    window: str
    at: str
    asleep: str = ""
    """How long it sleeps."""


def rough(seconds: float | None) -> str:
    """A span in its largest unit: now, 12m, 3h, 2d. It changes rarely enough for a list."""
    if seconds is None:
        return ""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return "now"


def moment(clock: Clock, at: datetime | None) -> str:
    """Today's time to the minute, else the day."""
    if at is None:
        return ""
    local, today = clock.local(at), clock.local(clock.now())
    return f"{local:%H:%M}" if local.date() == today.date() else f"{local.day} {local:%b}"


def point(clock: Clock, at: datetime | None) -> str:
    """A time to the minute, with its day when it is not today."""
    if at is None:
        return ""
    local, today = clock.local(at), clock.local(clock.now())
    return (
        f"{local:%H:%M}"
        if local.date() == today.date()
        else f"{local:%a} {local.day} {local:%b} {local:%H:%M}"
    )


def remaining(clock: Clock, until: datetime | None) -> float | None:
    """Seconds from now until then; below zero when it is past."""
    return None if until is None else (until - clock.now()).total_seconds()


def left(seconds: float | None) -> str:
    """A countdown in its largest unit, rounded up: 28m, 3h, 0."""
    if seconds is None:
        return ""
    if seconds <= 0:
        return "0"
    for size, unit in ((86_400, "d"), (3600, "h")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)}{unit}"
    return f"{-int(-seconds // 60)}m"


def shown(row: ThreadRow, clock: Clock, me: str, *, wanting: bool = False, writing: bool = False) -> Shown:
    """`row` at this moment, for the operator `me`."""
    window = remaining(clock, row.window_until)
    return Shown(
        row=row,
        mine=row.operator is not None and row.operator == me,
        wanting=wanting and row.waiting and row.snoozed_until is None,
        writing=writing,
        waits=rough(clock.age(row.waiting_since or row.last_inbound_at)) if row.waiting else "",
        since=rough(clock.age(row.owner_since)) if row.owner == "human" else "",
        back=left(remaining(clock, row.auto_release_at)),
        window="closed" if window is not None and window <= 0 else left(window),
        at=moment(clock, row.last_message_at),
        asleep=left(remaining(clock, row.snoozed_until)),
    )


def mark(item: Shown) -> Look:
    """Whether somebody waits, and for whom."""
    row = item.row
    if item.asleep:
        return Look("z", "asleep", MUTED)
    if item.wanting:
        return Look("✗", "error", BAD) if row.last_status == "inbound_error" else Look("●", "waits", WARN)
    if row.owner == "human":
        return Look("◆", "person", MUTED)
    if row.thinking:
        return Look("◐", "thinking", BUSY)
    if row.paused:
        return Look("‖", "paused", WARN)
    return Look("○", "waiting", "") if row.waiting else Look("✓", "answered", MUTED)


class ThreadList(ArrangedList[Shown]):
    """Conversations."""

    HEIGHT = 2

    def __init__(self) -> None:
        super().__init__(lambda item: item.row.id, id="threads")

    def draw(self, row: Shown, width: int) -> Sequence[Content]:
        look, thread = mark(row), row.row
        if row.asleep:
            right = Content.styled(f"z {row.asleep}", MUTED)
        else:
            right = Content.styled(row.waits, look.style) if row.waits else Content.styled(row.at, MUTED)
        name = cell(thread.who or thread.address or f"thread {thread.id}", STRONG if row.wanting else "", 60)
        room = max(1, width - 4 - right.cell_length)
        return [
            Content.assemble((f"{look.glyph} ", look.style), fit(name, room), " ", right, " "),
            fit(Content.assemble("  ", _standing(row), last_words(row)), width),
        ]


def _standing(item: Shown) -> Content:
    """Who answers until when, and what it is about, before the last words."""
    parts = Content.assemble(owner(item), countdowns(item), labels(item.row))
    return (
        Content.assemble(parts[1:] if parts.plain.startswith(" ") else parts, (" · ", MUTED))
        if parts.plain
        else parts
    )


def owner(item: Shown) -> Content:
    """Who answers, and since when; nothing where the AI does, as everywhere."""
    row = item.row
    if row.owner != "human":
        if not row.paused and row.operator is None:
            return Content("")
        who = ("‖ AI paused", WARN) if row.paused else ("AI", MUTED)
        whose = "" if row.operator is None else " → you" if item.mine else f" → {row.operator}"
        return Content.assemble(who, cell(whose, GOOD if item.mine else "", 16))
    paused = (" ‖ AI paused" if row.paused else "", WARN)
    if row.operator is None:
        return Content.assemble(("◆ nobody yet", WARN), (f" {item.since}", MUTED), paused)
    name = Content("you") if item.mine else cell(row.operator, "", 12)
    return Content.assemble(("◆ ", GOOD if item.mine else ""), name, (f" {item.since}", MUTED), paused)


def labels(row: ThreadRow, most: int = 3) -> Content:
    """What it is about: each word in a colour of its own, the same everywhere."""
    parts = [cell(f" #{label}", HUES[crc32(label.encode()) % len(HUES)], 32) for label in row.labels[:most]]
    if len(row.labels) > most:
        parts.append(Content.styled(f" +{len(row.labels) - most}", MUTED))
    return Content("").join(parts)


def countdowns(item: Shown) -> Content:
    """When the AI answers again by itself, and how long the channel takes an answer."""
    parts = []
    if item.back:
        parts.append(Content.styled(f" ↺ {item.back}", MUTED))
    if item.window == "closed":
        parts.append(Content.styled(" ◷ closed", BAD))
    elif item.window:
        parts.append(Content.styled(f" ◷ {item.window}", WARN if item.window.endswith("m") else MUTED))
    return Content("").join(parts)


def last_words(item: Shown) -> Content:
    """What was said last, or written and not sent."""
    row = item.row
    if item.writing:
        return Content.styled("✎ you are writing", WARN)
    if row.drafted:
        return Content.assemble(("✎ draft", WARN), (" · ", MUTED), cell(row.last_text, MUTED))
    said = {"ai": "AI: ", "human": "you: " if item.mine else "we: "}.get(row.last_author or "", "")
    text = (
        cell(row.last_text, MUTED)
        if row.last_text
        else Content.styled(f"({row.last_kind or 'empty'})", MUTED)
    )
    return Content.assemble((said, MUTED), text)
