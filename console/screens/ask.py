"""One line to type, checked while it is typed; Enter takes it only when it can be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input

from console.sanitise import cell
from console.screens.guarded import Dialog
from console.widgets.completing import Completing
from console.widgets.quiet import Quiet
from console.words import BAD, GOOD, KEY, MUTED, STRONG

Check = Callable[[str], str]
"""What a text means, in words. Raises ValueError or a SwitchboardError, which say what is wrong with it."""


class Ask(Dialog[str | None]):
    """`text = await app.push_screen_wait(Ask("Daily budget", "US dollars", "5", check))`; None: closed."""

    CSS_PATH = "dialog.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Close")]

    def __init__(self, title: str, how: str, text: str, check: Check, *, known: Sequence[str] = ()) -> None:
        super().__init__()
        self._title, self._how, self._text, self._check = title, how, text, check
        self._known = known

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog ask"):
            yield Quiet(cell(self._title, STRONG))
            yield Quiet(cell(self._how, MUTED))
            yield Completing(typed(self._text), self._known, id="answer")
            yield Quiet(id="verdict")
            yield Quiet(
                Content.assemble(
                    ("enter", KEY), (" takes it  ", MUTED), ("esc", KEY), (" leaves it as it is", MUTED)
                )
            )

    def on_mount(self) -> None:
        entry = self.query_one(Input)
        entry.focus()
        self._judge(entry.value)

    def on_input_changed(self, event: Input.Changed) -> None:
        self._judge(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if self._judge(event.value):
            self.dismiss(event.value)

    def _judge(self, text: str) -> bool:
        try:
            verdict = Content.assemble(("✓ ", GOOD), cell(self._check(text), limit=400))
            good = True
        except Exception as error:
            verdict, good = refusal(error), False
        self.query_one("#verdict", Quiet).show(verdict)
        return good


def typed(text: str) -> str:
    """A text to begin with; a space at its end waits for the next word."""
    return cell(text, limit=2000).plain + (" " if text.endswith(" ") else "")


def refusal(error: Exception) -> Content:
    """Why something cannot be used, and what would do. Raises what is not a refusal."""
    what, remedy = getattr(error, "what", None), getattr(error, "remedy", None)
    if what is None and not isinstance(error, ValueError):
        raise error
    text = Content.assemble(("✗ ", BAD), cell(what or str(error), BAD, 500))
    return Content.assemble(text, "\n  → ", cell(remedy, MUTED, 500)) if remedy else text
