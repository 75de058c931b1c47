"""Whether a conversation goes back to the AI, and who answers what waits."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button

from console.sanitise import cell
from console.screens.guarded import Dialog
from console.widgets.quiet import Quiet
from console.words import STRONG


class HandBack(Dialog[str]):
    """Its result: `""` keeps the conversation, `"silent"` hands it back, `"answer"` has the AI answer what waits."""

    CSS_PATH = "dialog.tcss"
    BINDINGS = [  # noqa: RUF012 - Textual's way
        Binding("n,escape,q", "answer('')", "Keep it"),
        Binding("y", "answer('silent')", "Hand back"),
        Binding("a", "answer('answer')", "Hand back and answer"),
    ]

    def __init__(self, who: str, waiting: int) -> None:
        super().__init__()
        self._who, self._waiting = who, waiting

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Quiet(
                Content.assemble(("Hand ", STRONG), cell(self._who, STRONG, 40), (" back to the AI?", STRONG))
            )
            yield Quiet(Content(self._detail()), classes="detail")
            with Horizontal(classes="buttons"):
                yield Button(Content("Keep it (n)"), id="keep", compact=True)
                yield Button(Content("Hand back (y)"), id="silent", variant="warning", compact=True)
                if self._waiting:
                    yield Button(Content("… and answer (a)"), id="answer", variant="warning", compact=True)

    def _detail(self) -> str:
        if not self._waiting:
            return "The AI answers from the customer's next message on."
        count = "1 message waits" if self._waiting == 1 else f"{self._waiting} messages wait"
        return (
            f"{count} for an answer. Handed back, the AI answers from the next message on; with “and answer” it "
            "also answers what waits."
        )

    def on_mount(self) -> None:
        self.query_one("#keep").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss("" if event.button.id == "keep" else str(event.button.id))

    def action_answer(self, answer: str) -> None:
        if answer != "answer" or self._waiting:
            self.dismiss(answer)
