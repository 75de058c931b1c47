"""Covers everything while the terminal is too small: acting on what is not drawn is dangerous."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content

from console.screens.guarded import Dialog
from console.widgets.quiet import Quiet

WIDTH, HEIGHT = 60, 16


class TooSmall(Dialog[None]):
    """The app takes it away when there is room again."""

    CSS_PATH = "dialog.tcss"
    BINDINGS = [Binding("q,ctrl+c", "app.act('app.quit')", "Quit")]  # noqa: RUF012 - Textual's way

    def compose(self) -> ComposeResult:
        yield Quiet(Content(""), id="too-small")

    def on_mount(self) -> None:
        self._tell(self.app.size.width, self.app.size.height)

    def on_resize(self, event: events.Resize) -> None:
        self._tell(event.size.width, event.size.height)

    def _tell(self, width: int, height: int) -> None:
        text = (
            f"This terminal is {width}×{height}.\nSwitchboard needs {WIDTH}×{HEIGHT}.\nMake it larger, or q."
        )
        self.query_one(Quiet).show(Content(text))
