"""A question before something that cannot be taken back. The answer is No unless somebody says Yes."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button

from console.screens.guarded import Dialog
from console.widgets.quiet import Quiet
from console.words import STRONG


class Confirm(Dialog[bool]):
    """`await app.push_screen_wait(Confirm("Replay 12 messages?", …))`, from a worker."""

    CSS_PATH = "dialog.tcss"
    BINDINGS = [  # noqa: RUF012 - Textual's way
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,q", "answer(False)", "No"),
        Binding("left,right,h,l", "other", "Other", show=False),
    ]

    def __init__(
        self, question: str, detail: Content | str = "", *, yes: str = "Yes", no: str = "No"
    ) -> None:
        super().__init__()
        self._question = question
        self._detail = detail if isinstance(detail, Content) else Content(detail)
        self._yes, self._no = yes, no

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Quiet(Content.styled(self._question, STRONG))
            if self._detail:
                yield Quiet(self._detail, classes="detail")
            with Horizontal(classes="buttons"):
                yield Button(Content(f"{self._no} (n)"), id="no", compact=True)
                yield Button(Content(f"{self._yes} (y)"), id="yes", variant="warning", compact=True)

    def on_mount(self) -> None:
        self.query_one("#no").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)

    def action_other(self) -> None:
        self.focus_next("Button")
