"""A dry run beside what was said then: the texts word by word, route, tokens, cost and time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.worker import Worker, WorkerState

from console.sanitise import cell, foreign
from console.screens.guarded import Dialog
from console.widgets.lines import Line, Lines, fit
from console.widgets.quiet import Quiet
from console.words import BAD, GOOD, KEY, MUTED, STRONG, WARN, span, usd

if TYPE_CHECKING:
    from engine.operator.dry_run import DryRun, TurnSide, WordChange

NAME, VALUE = 9, 40
"""Cells of a row's name, and at most of each side."""


class DryRunDialog(Dialog[None]):
    """Runs when it opens; nothing is sent. Escape closes it."""

    CSS_PATH = "dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter", "dismiss", "Close")]

    def __init__(self, message_id: int, run: Callable[[], Awaitable[DryRun]]) -> None:
        super().__init__()
        self._message_id, self._run_it = message_id, run
        self._done: DryRun | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog full"):
            yield Quiet(self._title(), id="title")
            yield Lines(id="compared")
            with Horizontal(id="texts"):
                with VerticalScroll(classes="text"):
                    yield Quiet(id="old")
                with VerticalScroll(classes="text"):
                    yield Quiet(id="new")
            yield Quiet(Content.assemble(("esc", KEY), (" closes", MUTED)))

    def _title(self, verdict: Content | None = None) -> Content:
        title = Content.styled(f"Dry run of message {self._message_id}: nothing is sent", STRONG)
        return Content.assemble(title, ". ", verdict) if verdict is not None else title

    def on_mount(self) -> None:
        self.query_one("#compared", Lines).show([Content.styled("Asking the model …", MUTED)])
        self.run_it()

    @work(exclusive=True, exit_on_error=False, group="dry run")
    async def run_it(self) -> None:
        """Ask, and show both."""
        run = await self._run_it()
        self.query_one("#title", Quiet).show(self._title(verdict_of(run)))
        self._done = run
        self.call_after_refresh(self._compare)
        old, new = texts(run.old.text if run.old else None, run.new.text, run.words)
        self.query_one("#old", Quiet).show(Content.assemble(("Then", STRONG), "\n", old))
        self.query_one("#new", Quiet).show(Content.assemble(("Now", STRONG), "\n", new))

    def on_resize(self) -> None:
        self.call_after_refresh(self._compare)

    def _compare(self) -> None:
        """Both sides' figures, in the room there is."""
        lines = self.query_one("#compared", Lines)
        if self._done is not None and lines.size.width:
            lines.show(compared(self._done, lines.size.width))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        super().on_worker_state_changed(event)
        if event.state is WorkerState.ERROR:
            self.dismiss(None)


def verdict_of(run: DryRun) -> Content:
    """Whether another text came of it."""
    if run.old is None:
        return Content.styled("It was never answered before.", MUTED)
    return Content.styled("The same text.", GOOD) if run.same_text else Content.styled("Another text.", WARN)


def compared(run: DryRun, width: int) -> list[Line]:
    """Both sides' figures, one a line of so many cells."""
    old, new = run.old, run.new
    side = max(12, min(VALUE, (width - NAME - 2) // 2))

    def row(name: str, then: Content, now: Content) -> Line:
        return Line(Content.assemble((name.ljust(NAME), MUTED), fit(then, side), "  ", fit(now, side)))

    lines = [row("", Content.styled("then", MUTED), Content.styled("now", MUTED))]
    there = _side(old) if old else {}
    for name, now in _side(new).items():
        lines.append(row(name, there.get(name, Content("–")), now))
    lines.append(row("route", _route(old), _route(new)))
    if new.error:
        lines.append(Line(Content.assemble(("✗ ", BAD), cell(new.error, BAD))))
    return lines


def _side(side: TurnSide) -> dict[str, Content]:
    return {
        "outcome": cell(f"{side.outcome} {side.reason or ''}", limit=60),
        "agent": Content(f"v{side.agent_version}" if side.agent_version else "–"),
        "model": cell(f"{side.provider or '–'} {side.model or ''}", limit=60),
        "tokens": Content(f"{side.prompt_tokens or '?'} + {side.completion_tokens or '?'}"),
        "cost": Content(usd(None if side.cost_usd is None else float(side.cost_usd))),
        "latency": Content(span(side.latency_ms) or "–"),
    }


def _route(side: TurnSide | None) -> Content:
    return cell(" → ".join(side.route) if side and side.route else "–", MUTED, 200)


def texts(old_text: str | None, new_text: str | None, words: Sequence[WordChange]) -> tuple[Content, Content]:
    """Both texts, with the words struck that went and those marked that came."""
    if not old_text:
        return Content.styled("(no text)", MUTED), foreign(new_text or "(no text)")
    old, new = Content(""), Content("")
    for change in words:
        if change.op == "equal":
            old, new = old + foreign(change.old), new + foreign(change.new)
        else:
            old, new = old + foreign(change.old, ".gone"), new + foreign(change.new, ".came")
    return old, new
