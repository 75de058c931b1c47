"""Where the time of a message went: one bar for each stretch of its trip, on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from console.sanitise import cell
from console.widgets.lines import Line, Lines, fit
from console.words import BAD, BUSY, GOOD, MUTED, WARN, span

if TYPE_CHECKING:
    from engine.observe.timeline import Span, Timeline

#: Stretches that are not ours to shorten; the scale ends before them.
OUTSIDE = frozenset({"with a person", "reading"})
STYLES = {"waiting": MUTED, "llm": BUSY, "with a person": WARN, "delivery": GOOD, "reading": MUTED}
LABEL, TOOK = 14, 9
EDGES = "▏▎▍▌▋▊▉"


class Waterfall(Lines):
    """The spans of a trip."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._timeline: Timeline | None = None

    def tell(self, timeline: Timeline | None) -> None:
        """Show a trip."""
        self._timeline = timeline
        self._draw_bars()

    def on_resize(self) -> None:
        self._draw_bars()

    def _draw_bars(self) -> None:
        spans = self._timeline.spans if self._timeline else []
        self.show(bars(spans, self._timeline.total_ms if self._timeline else 0.0, self.size.width))


def bars(spans: Sequence[Span], total_ms: float, width: int) -> list[Line]:
    """A line for each span. Those outside our hands may leave the scale; an arrow says so."""
    inside = [s for s in spans if s.name not in OUTSIDE]
    scale = max((s.end_ms if s.end_ms is not None else total_ms for s in inside), default=total_ms) or 1.0
    detail = min(30, max(0, width - LABEL - TOOK - 20))
    room = max(8, width - LABEL - TOOK - detail - 3)
    lines = []
    for item in spans:
        end = item.end_ms if item.end_ms is not None else total_ms
        style = BAD if not item.ok else STYLES.get(item.name, "")
        took = span(max(0.0, end - item.start_ms)) + ("…" if item.end_ms is None else "")
        lines.append(
            Line(
                Content.assemble(
                    (f"{'✗ ' if not item.ok else ''}{item.name}".ljust(LABEL), style),
                    (_bar(item.start_ms / scale, end / scale, room), style or GOOD),
                    " ",
                    fit(Content.styled(took, "" if item.ok else BAD), TOOK, right=True),
                    "  ",
                    fit(cell(item.detail, MUTED), detail),
                )
            )
        )
    return lines


def _bar(start: float, end: float, room: int) -> str:
    """A stretch of the scale 0…1 in `room` cells; the shortest still shows."""
    if start >= 1.0:
        return "→".rjust(room)
    first = int(start * room)
    cells = min(end, 1.0) * room - first
    whole = int(cells)
    edge = EDGES[int((cells - whole) * 7)] if cells - whole > 1 / 7 else ""
    bar = "█" * whole + edge or EDGES[0]
    if end > 1.0 and whole:
        bar = bar[:-1] + "→"
    return (" " * first + bar)[:room].ljust(room)
