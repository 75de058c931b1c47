"""The newest messages on their way through the eight steps, one line each.

1 written · 2 thread · 3 claimed · 4 resolved · 5 turn · 6 answer · 7 queued · 8 sent
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from textual.content import Content

from console.clock import Clock
from console.sanitise import cell
from console.widgets.lines import Line, Lines, fit, heading
from console.words import BAD, BUSY, GOOD, KEY, MUTED, OUTCOME, WARN, Look, age, look, span

if TYPE_CHECKING:
    from engine.observe.views import TripRow

STEPS = ("written", "thread", "claimed", "resolved", "turn", "answer", "queued", "sent")
DONE, NOW, NOT_YET = Look("●", "", GOOD), Look("◐", "", BUSY), Look("·", "", MUTED)
AGAIN, STOPPED, PERSON = Look("↻", "", WARN), Look("✗", "", BAD), Look("◆", "", WARN)
LEGEND = " ".join(f"{number} {name}" for number, name in enumerate(STEPS, 1))
SHORT_LEGEND = "1 written … 3 claimed … 5 turn … 8 sent"
STATE, TOOK = 11, 8


def steps(trip: TripRow) -> list[Look]:
    """Where a message is: done up to somewhere, then where it is or why it stopped."""
    if trip.status == "received":
        return _up_to(3, AGAIN if trip.attempts else NOW)
    if trip.status == "inbound_processing":
        return _up_to(5, NOW)
    if trip.status == "inbound_human_takeover":
        return _up_to(3 if (trip.reason or "").startswith("takeover") else 6, PERSON)
    if trip.status == "inbound_error":
        return _up_to(6 if (trip.reason or "").startswith("llm") else 5, STOPPED)
    return _up_to(8, _sent(trip))


def _up_to(step: int, last: Look) -> list[Look]:
    return [DONE] * (step - 1) + [last] + [NOT_YET] * (8 - step)


def _sent(trip: TripRow) -> Look:
    match trip.send_status:
        case "sent" | "accepted":
            return DONE
        case "retry_scheduled":
            return AGAIN
        case "failed":
            return OUTCOME.get(trip.outcome or "", STOPPED)
    return NOW


def state(trip: TripRow) -> Look:
    """The present state in a word: of the reply once there is one."""
    if trip.send_status is None or trip.status != "inbound_ai_replied":
        return look(trip.status)
    if trip.send_status in ("sent", "accepted"):
        word = "read" if trip.read_at else "delivered" if trip.delivered_at else trip.send_status
        return Look("✓", word, GOOD)
    return look(trip.send_status, trip.outcome)


def took(trip: TripRow, clock: Clock) -> str:
    """How long it took, or has taken so far."""
    ended = trip.sent_at or trip.replied_at
    if ended is not None:
        return span((ended - trip.created_at).total_seconds() * 1000)
    if trip.status in ("received", "inbound_processing"):
        so_far = clock.age(trip.created_at) or 0.0
        return f"{so_far:.0f} s" if so_far < 600 else age(so_far)
    return ""


class Board:
    """Which line shows which message. Lines stay where they are: a new message takes the oldest one's.

    So the eye finds a message again, and a slow link carries one line instead of all of them.
    """

    def __init__(self) -> None:
        self.lines: list[TripRow | None] = []
        self.newest = -1
        """The line of the newest message."""
        self._line_of: dict[int, int] = {}
        self._drawn: dict[int, tuple[object, Line]] = {}

    def resize(self, lines: int) -> None:
        """Have this many lines; when that changes, all are filled anew."""
        if lines != len(self.lines):
            self.lines = [None] * max(0, lines)
            self.newest = -1
            self._line_of.clear()

    def take(self, trips: Sequence[TripRow]) -> None:
        """Bring known messages up to date and give new ones a line. `trips` are the newest, newest first."""
        if not self.lines:
            return
        for trip in reversed(trips[: len(self.lines)]):
            line = self._line_of.get(trip.id)
            if line is None:
                line = self.newest = (self.newest + 1) % len(self.lines)
                before = self.lines[line]
                if before is not None:
                    self._line_of.pop(before.id, None)
                self._line_of[trip.id] = line
            self.lines[line] = trip

    def draw(self, y: int, clock: Clock, width: int) -> Line:
        """A line, made anew only when something of it has changed."""
        trip = self.lines[y]
        if trip is None:
            return Line(Content(""))
        look_of = (trip, took(trip, clock), clock.time(trip.created_at), width, y == self.newest)
        known = self._drawn.get(y)
        if known is None or known[0] != look_of:
            known = self._drawn[y] = (look_of, _line(trip, clock, width, newest=y == self.newest))
        return known[1]


class TripsPane(Lines):
    """As many messages as there is room for."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.board = Board()
        self._trips: Sequence[TripRow] | None = None
        self._clock = Clock()

    def tell(self, trips: Sequence[TripRow], clock: Clock) -> None:
        """Bring the board up to date; `trips` are the newest, newest first."""
        self._trips, self._clock = trips, clock
        self._draw_board()

    def on_resize(self) -> None:
        self._draw_board()

    def _draw_board(self) -> None:
        if self._trips is None:
            return
        width, height = self.size
        board = self.board
        board.resize(height - 1)
        board.take(self._trips)
        lines = [heading("Passing through", LEGEND if width >= 110 else SHORT_LEGEND)]
        if board.newest < 0:
            lines.append(Line(Content.styled("No message has come yet.", MUTED)))
        else:
            lines += [board.draw(y, self._clock, width) for y in range(len(board.lines))]
        self.show(lines)


def _marks(looks: Sequence[Look]) -> Content:
    """A glyph for each step; those alike are one piece, which costs a slow link one change of style."""
    return Content.assemble(
        *(
            ("".join(step.glyph for step in alike), style)
            for style, alike in groupby(looks, attrgetter("style"))
        )
    )


def _line(trip: TripRow, clock: Clock, width: int, *, newest: bool) -> Line:
    who = 22 if width >= 110 else 14
    now = state(trip)
    said = cell(trip.text) if trip.text else Content.styled(f"({trip.kind or 'empty'})", MUTED)
    return Line(
        Content.assemble(
            (" › " if newest else "   ", KEY),
            (clock.time(trip.created_at), MUTED),
            " ",
            fit(cell(trip.who, limit=40), who),
            " ",
            _marks(steps(trip)),
            " ",
            fit(Content.styled(f"{now.glyph} {now.word}", now.style), STATE),
            fit(Content.styled(took(trip, clock), MUTED), TOOK, right=True),
            "  ",
            said,
        ),
        ("message", trip.id),
    )
