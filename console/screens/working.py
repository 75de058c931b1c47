"""An act on many rows, with a bar. It goes on to its end; what is done stays done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.worker import Worker, WorkerState

from console.screens.guarded import Dialog
from console.widgets.lines import Line, Lines
from console.widgets.quiet import Quiet
from console.words import BUSY, MUTED, STRONG, count, gauge

Progress = Callable[[int, int], None]


class Working(Dialog[Any]):
    """`result = await app.push_screen_wait(Working("Replaying 12 messages", lambda progress: …))`; None: it failed."""

    CSS_PATH = "dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "hide", "Hide", show=False)]

    def __init__(self, title: str, act: Callable[[Progress], Awaitable[Any]]) -> None:
        super().__init__()
        self._title, self._act = title, act

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Quiet(Content.styled(self._title, STRONG))
            yield Lines(id="bar")

    def on_mount(self) -> None:
        self._show(0, 0)
        self.run_act()

    @work(exclusive=True, exit_on_error=False, group="act")
    async def run_act(self) -> None:
        """Do it, and close."""
        self.dismiss(await self._act(self._show))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        super().on_worker_state_changed(event)
        if event.state is WorkerState.ERROR:
            self.dismiss(None)

    def _show(self, done: int, total: int) -> None:
        share = done / total if total else 0.0
        told = f" {count(done)} of {count(total)}" if total else " …"
        self.query_one("#bar", Lines).show([Line(Content.assemble((gauge(share, 40), BUSY), (told, MUTED)))])

    def action_hide(self) -> None:
        """Nothing: what has begun is not left alone."""
