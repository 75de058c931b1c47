"""Canned replies: choose one by its shortcut; it goes into the composer, not to the customer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input

from console.sanitise import cell
from console.screens.guarded import Dialog
from console.widgets.arranged_list import ArrangedList
from console.widgets.lines import fit
from console.widgets.quiet import Quiet
from console.words import KEY, MUTED, STRONG

if TYPE_CHECKING:
    from engine.operator.canned import CannedReply


class CannedList(ArrangedList["CannedReply"]):
    """Shortcut and text."""

    def draw(self, row: CannedReply, width: int) -> Sequence[Content]:
        return [Content.assemble(fit(cell(f"/{row.shortcut}", KEY), 16), " ", cell(row.text))]


class CannedPicker(Dialog[str | None]):
    """Its result is the chosen text."""

    CSS_PATH = ["dialog.tcss", "writing.tcss"]  # noqa: RUF012 - Textual's way
    BINDINGS = [  # noqa: RUF012 - Textual's way
        Binding("escape", "dismiss(None)", "Close"),
        Binding("down,ctrl+n", "move(1)", "Down", show=False, priority=True),
        Binding("up", "move(-1)", "Up", show=False, priority=True),
    ]

    def __init__(self, replies: Sequence[CannedReply]) -> None:
        super().__init__()
        self._replies = tuple(replies)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog canned"):
            yield Quiet(Content.styled("Canned replies", STRONG))
            yield Input(placeholder="shortcut or a word of the text", compact=True)
            yield CannedList(lambda row: row.id)
            yield Quiet(Content.assemble(("enter", KEY), (" puts it into the composer  ", MUTED), ("esc", KEY),
                                         (" closes", MUTED)))  # fmt: skip

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False
        self.query_one(CannedList).say_when_empty(Content.styled("None matches.", MUTED))
        self.query_one(CannedList).show(self._replies)

    def on_input_changed(self, event: Input.Changed) -> None:
        words = event.value.strip().removeprefix("/").casefold()
        found = [r for r in self._replies if r.shortcut.casefold().startswith(words)]
        found += [r for r in self._replies if r not in found and words in r.text.casefold()]
        self.query_one(CannedList).show(tuple(found))

    def on_input_submitted(self) -> None:
        self._choose(self.query_one(CannedList).row)

    def on_arranged_list_opened(self, event: ArrangedList.Opened) -> None:
        self._choose(event.row)

    def action_move(self, step: int) -> None:
        self.query_one(CannedList).action_cursor(step)

    def _choose(self, row: CannedReply | None) -> None:
        if row is not None:
            self.dismiss(row.text)
