"""One line to type a filter on; what cannot be understood is said at once."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Input

from console.sanitise import cell
from console.screens.guarded import Dialog
from console.widgets.quiet import Quiet
from console.words import BAD, MUTED


class Prompt(Dialog[str | None]):
    """Its result is what was typed; None when it was closed without an answer."""

    CSS_PATH = ["dialog.tcss", "writing.tcss"]  # noqa: RUF012 - Textual's way
    BINDINGS = [Binding("escape", "dismiss(None)", "Close")]  # noqa: RUF012 - Textual's way

    def __init__(self, value: str, hint: str, why_not: Callable[[str], str | None]) -> None:
        """`why_not` says what is wrong with what was typed, or None."""
        super().__init__()
        self._value, self._hint, self._why_not = value, hint, why_not

    def compose(self) -> ComposeResult:
        with Vertical(classes="prompt filter"):
            yield Input(self._value, placeholder="nothing shows all", compact=True, select_on_focus=False)
            yield Quiet(cell(self._hint, MUTED))

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False

    def on_input_changed(self, event: Input.Changed) -> None:
        wrong = self._why_not(event.value)
        self.query_one(Quiet).show(cell(wrong, BAD) if wrong else cell(self._hint, MUTED))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if self._why_not(event.value) is None:
            self.dismiss(event.value.strip())
