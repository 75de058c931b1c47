"""Whether and as what a list goes into a file."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button

from console.screens.guarded import Dialog
from console.widgets.quiet import Quiet
from console.words import STRONG


class Export(Dialog[str]):
    """Its result: `jsonl`, `csv`, or `""`."""

    CSS_PATH = "dialog.tcss"
    BINDINGS = [  # noqa: RUF012 - Textual's way
        Binding("n,escape,q", "answer('')", "No"),
        Binding("j", "answer('jsonl')", "JSONL"),
        Binding("c", "answer('csv')", "CSV"),
    ]

    def __init__(self, question: str, detail: str) -> None:
        super().__init__()
        self._question, self._detail = question, detail

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Quiet(Content.styled(self._question, STRONG))
            yield Quiet(Content(self._detail), classes="detail")
            with Horizontal(classes="buttons"):
                yield Button(Content("No (n)"), id="no", compact=True)
                yield Button(Content("JSONL (j)"), id="jsonl", compact=True)
                yield Button(Content("CSV (c)"), id="csv", compact=True)

    def on_mount(self) -> None:
        self.query_one("#jsonl").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss("" if event.button.id == "no" else str(event.button.id))

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)
