"""Sends in a list: groups under headings, and one line each.

? Unknown outcome  3            each waits for a decision: s it arrived, r send it again
  Anna Berger   whatsapp_cloud  12m   2×           unknown   the far end did not answer
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.content import Content

from console.clock import Clock
from console.sanitise import cell
from console.screens.inbox_rows import left, remaining, rough
from console.widgets.arranged_list import ArrangedList
from console.widgets.lines import fit
from console.words import BAD, MUTED, OUTBOUND, OUTCOME, STRONG, WARN, Look, count, look

if TYPE_CHECKING:
    from engine.observe.records import SendRow

HEADS: dict[str, tuple[Look, str]] = {
    "unknown": (
        Look("?", "Unknown outcome", BAD),
        "decide: s it arrived, r send it again · S all arrived",
    ),
    "failed": (Look("✗", "Failed", BAD), "given up; r tries again"),
    "retry": (Look("↻", "Waiting for another try", WARN), "go out by themselves; x cancels"),
    "sending": (OUTBOUND["processing"], "with the channel right now"),
    "queued": (OUTBOUND["queued"], "next in turn; x cancels"),
    "cancelled": (OUTCOME["cancelled"], "not sent; r sends it after all"),
    "sent": (OUTBOUND["sent"], "newest first"),
}

GROUP_OF = {"retry_scheduled": "retry", "processing": "sending", "queued": "queued", "failed": "failed"}
"""The group of a status; what has left is `sent`."""


@dataclass(frozen=True, slots=True)
class Head:
    """The heading of a group."""

    group: str
    count: str
    """How many there are, as far as is known."""

    @property
    def id(self) -> str:
        return self.group


@dataclass(frozen=True, slots=True)
class Send:
    """A send as the list shows it; what the clock changes is in it as text."""

    row: SendRow
    group: str
    age: str
    next: str

    @property
    def id(self) -> int:
        return self.row.id


def send(row: SendRow, clock: Clock, group: str = "") -> Send:
    """`row` at this moment."""
    next_try = ""
    if row.status == "retry_scheduled":
        due = remaining(clock, row.next_attempt_at)
        next_try = "due" if due is not None and due <= 0 else f"in {left(due)}"
    return Send(row, group or group_of(row), rough(clock.age(row.created_at)), next_try)


def group_of(row: SendRow) -> str:
    """The group a send belongs to now."""
    if row.status == "failed":
        return row.outcome if row.outcome in ("unknown", "cancelled") else "failed"
    return GROUP_OF.get(row.status, "sent")


class SendList(ArrangedList[Head | Send]):
    """Groups of sends."""

    def __init__(self) -> None:
        super().__init__(lambda item: item.id, id="sends")

    def draw(self, row: Head | Send, width: int) -> Sequence[Content]:
        return [_head(row, width) if isinstance(row, Head) else _send(row, width)]

    @property
    def chosen(self) -> Send | None:
        """The send under the cursor."""
        return self.row if isinstance(self.row, Send) else None


def _head(item: Head, width: int) -> Content:
    shown, note = HEADS[item.group]
    title = shown.word[:1].upper() + shown.word[1:]
    left_part = Content.assemble((f"{shown.glyph} ", shown.style), (title, STRONG), f"  {item.count}  ")
    return Content.assemble(
        left_part, fit(Content.styled(note, MUTED), max(0, width - left_part.cell_length))
    )


def _send(item: Send, width: int) -> Content:
    row, state = item.row, look(item.row.status, item.row.outcome)
    wide = width >= 90
    who = cell(row.who or row.provider_message_id or f"send {row.id}", "", 60)
    tries = f"{row.attempts}×" if row.attempts > 1 else ""
    cells = [
        Content.styled(f"{state.glyph} ", state.style),
        fit(who, 22 if wide else 16),
        Content(" "),
        fit(cell(row.channel, MUTED), 14) if wide else Content(""),
        fit(Content.styled(item.age, MUTED), 5, right=True),
        fit(Content.styled(tries, MUTED), 4, right=True),
        fit(Content.styled(f" {item.next}", WARN), 7),
        Content(" "),
    ]
    return Content.assemble(*cells, _last_words(item, state))


def _last_words(item: Send, state: Look) -> Content:
    """What went wrong, if anything did; else what is sent."""
    row = item.row
    if row.status in ("failed", "retry_scheduled") and (row.error_class or row.error):
        kind = row.error_class if row.error_class not in (None, state.word) else ""
        return Content.assemble(cell(kind, state.style, 20), "  " if kind else "", cell(row.error, MUTED))
    return cell(row.text, MUTED)


def heading(group: str, shown: int, more: bool, known: int | None) -> Head:
    """The heading of a group of which `shown` rows stand below; `known` is health's count."""
    if not more:
        return Head(group, count(shown))
    if known is not None and known > shown:
        return Head(group, f"{count(known)} · {count(shown)} shown")
    return Head(group, f"{count(shown)}+")
