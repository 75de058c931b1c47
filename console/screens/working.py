"""An act on many rows, with a bar. Escape stops it after the batch it is at; what is done stays done."""

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
from console.words import BUSY, KEY, MUTED, STRONG, count, gauge

Progress = Callable[[int, int], None]


class Working(Dialog[Any]):
    """`result = await app.push_screen_wait(Working("Replaying 12 messages", lambda progress: …))`; None: it failed."""

    CSS_PATH = "dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,n", "stop", "Stop", show=False)]

    def __init__(self, title: str, act: Callable[[Progress], Awaitable[Any]]) -> None:
        super().__init__()
        self._title, self._act = title, act
        self._stopping = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Quiet(Content.styled(self._title, STRONG))
            yield Lines(id="bar")
            yield Quiet(self._hint(), id="stop")

    def on_mount(self) -> None:
        self._draw(0, 0)
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
        self._draw(done, total)
        if self._stopping:
            from engine.operator.bulk import Stop

            raise Stop

    def _draw(self, done: int, total: int) -> None:
        share = done / total if total else 0.0
        told = f" {count(done)} of {count(total)}" if total else " …"
        self.query_one("#bar", Lines).show([Line(Content.assemble((gauge(share, 40), BUSY), (told, MUTED)))])

    def _hint(self) -> Content:
        if self._stopping:
            return Content.styled("Stopping after this batch …", MUTED)
        return Content.assemble(("esc", KEY), (" stops; what is done stays done", MUTED))

    def action_stop(self) -> None:
        """No further batch is begun."""
        self._stopping = True
        self.query_one("#stop", Quiet).show(self._hint())
