"""Plots of usage, by textual-plotext, as lines: what changed is drawn again, in the theme's colours or in none.

The library is loaded by `load` when the area is opened, or at the first plot.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from textual.content import Content

from console.sanitise import cell
from console.widgets.lines import Line, fit, heading
from console.words import BUSY, MUTED, short, usd

if TYPE_CHECKING:
    from textual_plotext.plot import Plot

    from engine.observe.spending import Used

MEASURES = ("cost", "tokens", "turns")
MOST_BARS = 8
NAME_CELLS = 22
AXES = 2
"""Rows that an axis and its labels take."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_BLOCKS = re.compile("([\u2580-\u259f]+)")


def load() -> None:
    """Load the library (about 0.1 s, once)."""
    import textual_plotext.plot  # noqa: F401 - slow, and start-up needs none of it


def amount(used: Used, measure: str) -> float:
    """What a plot shows of it."""
    return {"cost": used.cost_usd, "tokens": float(used.tokens)}.get(measure, float(used.turns))


def told(value: float, measure: str) -> str:
    """A plot's value in words."""
    return usd(value) if measure == "cost" else short(value)


def over_time(
    title: str, used: Sequence[Used], labels: Sequence[str], measure: str, width: int, height: int
) -> list[Line]:
    """Columns, the newest last and still growing; as many as fit. `labels` are short: 14:00 or 11-23."""
    room = max(8, (width - 9) // 2)
    values = tuple(amount(part, measure) for part in used)[-room:]
    top = max(values, default=0.0)
    now = told(values[-1] if values else 0.0, measure)
    head = heading(title, f"{measure} · highest {told(top, measure)} · now {now}")
    if top <= 0:
        return [head, Line(Content.styled("nothing used in this time", MUTED))]
    drawn = _columns(values, tuple(labels[-len(values) :]), measure, width, height)
    return [head, *(Line(_coloured(row)) for row in drawn)]


def by_name(title: str, used: Sequence[Used], measure: str, width: int) -> list[Line]:
    """A bar for each of the largest names."""
    most = sorted(used, key=lambda part: -amount(part, measure))[:MOST_BARS]
    values = tuple(amount(part, measure) for part in most)
    head = heading(title, f"{measure} · the largest {len(most)}" if len(used) > MOST_BARS else measure)
    if max(values, default=0.0) <= 0:
        return [head, Line(Content.styled("nothing used in this time", MUTED))]
    name = min(NAME_CELLS, width // 3)
    bars = _bars(values, max(8, width - name - 10))
    return [
        head,
        *(
            Line(
                Content.assemble(
                    fit(cell(part.name, limit=80), name),
                    " ",
                    (bar, BUSY),
                    (f" {_told_of(part, measure)}", MUTED),
                )
            )
            for part, bar in zip(most, bars, strict=True)
        ),
    ]


def _told_of(used: Used, measure: str) -> str:
    """What it comes to; never a sum of money for what has no price."""
    if measure == "cost" and used.unpriced and used.unpriced == used.turns:
        return "unpriced"
    return told(amount(used, measure), measure)


@lru_cache(maxsize=16)
def _columns(
    values: tuple[float, ...], labels: tuple[str, ...], measure: str, width: int, height: int
) -> list[str]:
    """Columns over an axis with its labels; anything above nothing shows."""
    top = max(values)
    least = top / (2 * max(1, height - AXES))
    plot = _empty(width, height)
    plot.bar(range(len(values)), [max(value, least) if value > 0 else 0 for value in values],
             marker="hd", width=0.4)  # fmt: skip
    plot.ylim(0, top)
    plot.xlim(-0.5, len(values) - 0.5)
    plot.yticks([0, top / 2, top], [told(value, measure).rjust(7) for value in (0, top / 2, top)])
    marks = _marks(len(values), max(1, (width - 9) // 9))
    plot.xticks(marks, [labels[int(mark)] for mark in marks])
    plot.xaxes(True, False)
    plot.yaxes(True, False)
    return _rows(plot)[:height]


@lru_cache(maxsize=16)
def _bars(values: tuple[float, ...], width: int) -> list[str]:
    """A row for each value; anything above nothing shows."""
    top = max(values)
    plot = _empty(width, len(values))
    bars = [max(value, top / width) if value > 0 else 0 for value in values]
    plot.bar(range(len(bars) - 1, -1, -1), bars, orientation="horizontal", marker="sd", width=0.001)
    plot.xlim(0, top)
    plot.xaxes(False, False)
    plot.yaxes(False, False)
    plot.xticks([])
    plot.yticks([])
    return [row if value > 0 else "" for row, value in zip(_rows(plot), values, strict=False)]


def _empty(width: int, height: int) -> Plot:
    from textual_plotext.plot import Plot

    plot = Plot()
    plot.theme("clear")
    plot.plotsize(width, height)
    return plot


def _rows(plot: Plot) -> list[str]:
    return [row.rstrip() for row in _COLOURS.sub("", plot.build()).rstrip("\n").split("\n")]


def _marks(values: int, most: int) -> list[float]:
    """Which values have their label written: the last, and others at even distances."""
    step = max(1, -(-values // most))
    return [float(mark) for mark in range(values - 1, -1, -step)][::-1]


def _coloured(row: str) -> Content:
    """Columns in their colour, axes and labels muted."""
    return Content.assemble(
        *((part, BUSY if at % 2 else MUTED) for at, part in enumerate(_BLOCKS.split(row)) if part)
    )
