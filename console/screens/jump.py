"""`:` – go to an area, a thread or a message by number, or to a conversation by phone number or name."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Input

from console.screens.guarded import Dialog


class Jump(Dialog[str]):
    """One line to type where to go; its result is what was typed."""

    CSS_PATH = "dialog.tcss"
    BINDINGS = [Binding("escape", "dismiss('')", "Close")]  # noqa: RUF012 - Textual's way

    def compose(self) -> ComposeResult:
        with Vertical(classes="prompt"):
            yield Input(
                placeholder="area · thread 12 · message 345 · +44 7700 900123 · a name · words",
                compact=True,
            )

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False

    def on_key(self, event: events.Key) -> None:
        """What was typed before the line had the focus."""
        line = self.query_one(Input)
        if self.focused is None and event.key == "enter":
            self.dismiss(line.value.strip())
        elif self.focused is None and event.is_printable and event.character:
            line.insert_text_at_cursor(event.character)
            event.stop()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())
