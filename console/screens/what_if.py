"""A what-if: how far it is, what changed in all, and every message with its two answers side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content

from console.sanitise import cell, foreign
from console.screens.dry_run import texts
from console.screens.guarded import Dialog
from console.widgets.index import Index
from console.widgets.lines import Line, Lines, fit
from console.widgets.quiet import Quiet
from console.words import BAD, BUSY, GOOD, KEY, MUTED, STRONG, WARN, count, gauge, span, usd

if TYPE_CHECKING:
    from engine.operator.what_if import WhatIf
    from engine.operator.what_if_results import Compared, Report, Summary

LOOK_EVERY = 1.0
LOOKS_OF = {
    "changed": ("≠", WARN, "changed"),
    "refused": ("◆", WARN, "to a person"),
    "failed": ("✗", BAD, "no answer"),
    "new": ("+", GOOD, "new"),
    "same": ("=", MUTED, "same"),
}
STATES = {"running": BUSY, "paused": WARN, "cancelled": BAD, "done": GOOD}


class WhatIfDialog(Dialog[None]):
    """Runs it when asked to (`begin`); closing pauses it, and it can be gone on with from anywhere."""

    CSS_PATH = "dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss", "Close"),
        Binding("space,p", "pause", "Pause"),
        Binding("x", "cancel", "Cancel"),
        Binding("e", "export", "Export"),
    ]

    def __init__(self, what_if: WhatIf, *, begin: bool) -> None:
        super().__init__()
        self._what_if, self._begin = what_if, begin
        self._report: Report | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog full what-if"):
            yield Lines(id="told")
            with VerticalScroll(id="list", can_focus=False):
                yield Index(id="results")
            with Horizontal(id="texts"):
                with VerticalScroll(classes="text"):
                    yield Quiet(id="old")
                with VerticalScroll(classes="text"):
                    yield Quiet(id="new")
            yield Quiet(
                Content.assemble(
                    ("space", KEY), (" pause, go on  ", MUTED), ("x", KEY), (" cancel  ", MUTED), ("e", KEY),
                    (" CSV  ", MUTED), ("esc", KEY), (" close, which pauses", MUTED),
                )
            )  # fmt: skip

    def on_mount(self) -> None:
        self.query_one("#told", Lines).show(head_lines(self._what_if))
        self.look()
        self.set_interval(LOOK_EVERY, self.look)
        if self._begin:
            self.carry_out()

    @work(exclusive=True, exit_on_error=False, group="what if")
    async def carry_out(self) -> None:
        """Run what waits."""
        from engine.operator.what_if_run import run

        settings = self.switchboard.session.settings
        assert settings is not None
        simulated = self.switchboard.demo is not None
        await run(*self._hands(), settings, self._what_if, simulated=simulated)
        self.look()

    @work(exclusive=True, exit_on_error=False, group="look")
    async def look(self) -> None:
        """How far it is by now; the results once more only while there are new ones."""
        from engine.operator.what_if import read
        from engine.operator.what_if_results import report

        pool, _ = self._hands()
        now = await read(pool, self._what_if.id)
        if self._report is None or now != self._report.what_if:
            self._report = await report(pool, now.id)
        self._what_if = now
        self._show()

    def _show(self) -> None:
        assert self._report is not None
        self.query_one("#told", Lines).show(
            [*head_lines(self._what_if), *summary_lines(self._report.summary)]
        )
        results = self.query_one("#results", Index)
        results.show(_row(result) for result in self._report.results)
        if results.can_focus and not results.has_focus:
            results.focus()
        self._show_texts()

    def on_index_chosen(self, event: Index.Chosen) -> None:
        event.stop()
        self._show_texts()

    def _show_texts(self) -> None:
        target = self.query_one("#results", Index).target()
        results = self._report.results if self._report else []
        chosen = next((result for result in results if result.message_id == target), None)
        if chosen is None:
            return
        said = [side.text if side is not None else None for side in (chosen.old, chosen.new)]
        old, new = texts(said[0], said[1], chosen.words())
        if chosen.verdict in ("refused", "failed"):
            why = chosen.problem or (chosen.new and (chosen.new.error or chosen.new.reason)) or ""
            new = Content.assemble((f"{LOOKS_OF[chosen.verdict][2]}: ", WARN), foreign(why), "\n\n", new)
        asked = Content.assemble(("Asked  ", STRONG), foreign(chosen.customer), "\n\n")
        version = f"Now, {self._what_if.tried}"
        self.query_one("#old", Quiet).show(Content.assemble(asked, ("Then", STRONG), "\n", old))
        self.query_one("#new", Quiet).show(Content.assemble((version, STRONG), "\n", new))

    # Acts

    @work(exclusive=True, exit_on_error=False, group="act")
    async def action_pause(self) -> None:
        from engine.operator.what_if import set_state

        pausing = self._what_if.state == "running"
        state = "paused" if pausing else "running"
        self._what_if = await set_state(*self._hands(), self._what_if.id, state)  # type: ignore[arg-type]
        if not pausing:
            self.carry_out()
        self.look()

    @work(exclusive=True, exit_on_error=False, group="act")
    async def action_cancel(self) -> None:
        from engine.operator.what_if import set_state

        self._what_if = await set_state(*self._hands(), self._what_if.id, "cancelled")
        self.look()

    def action_export(self) -> None:
        from engine.operator.what_if_results import as_csv

        if self._report is not None:
            self.deliver(as_csv(self._report.results), f"switchboard-what-if-{self._what_if.id}.csv")


def head_lines(what_if: WhatIf) -> Iterator[Line]:
    """What is tried, and how far it is."""
    share = what_if.done / what_if.total if what_if.total else 0.0
    yield Line(
        Content.assemble(
            (f"What if #{what_if.id}  ", STRONG),
            cell(f"{what_if.agent} {what_if.tried}  ", limit=120),
            cell(what_if.filter, MUTED, 200),
        )
    )
    expected = "" if what_if.estimate_usd is None else f" of about {usd(float(what_if.estimate_usd))}"
    yield Line(
        Content.assemble(
            (gauge(share, 24), BUSY),
            f" {count(what_if.done)} of {count(what_if.total)}  ",
            (what_if.state, STATES[what_if.state]),
            f"  {usd(float(what_if.cost_usd))}{expected}  ",
            cell(what_if.note or "", WARN, 200),
        )
    )


def summary_lines(summary: Summary) -> Iterator[Line]:
    """Counts, cost and time of what has run."""
    parts: list[Content] = []
    for verdict, number in summary.verdicts.items():
        glyph, style, word = LOOKS_OF[verdict]
        parts.append(
            Content.assemble((f"{glyph} {count(number)} ", style if number else MUTED), (word, MUTED))
        )
    yield Line(Content("   ").join(parts))
    told: list[str] = []
    if summary.compared_costs:
        old, new = float(summary.old_cost_usd), float(summary.new_cost_usd)
        told.append(f"cost {usd(old)} → {usd(new)}" + (f" ({new / old - 1:+.0%})" if old else ""))
    if summary.old_latency_ms is not None and summary.new_latency_ms is not None:
        told.append(f"median time {span(summary.old_latency_ms)} → {span(summary.new_latency_ms)}")
    yield Line(Content.styled(" · ".join(told), MUTED))


def _row(result: Compared) -> Line:
    glyph, style, word = LOOKS_OF[result.verdict]
    text = (result.new and result.new.text) or result.problem or (result.new and result.new.reason) or ""
    return Line(
        Content.assemble(
            (f"{glyph} ", style),
            fit(Content.styled(word, style), 12),
            (f"#{result.message_id:<8}", MUTED),
            fit(cell(result.customer, limit=200), 40),
            "  ",
            cell(text, MUTED, 300),
        ),
        target=result.message_id,
    )
