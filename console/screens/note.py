"""A private note with a conversation: colleagues see it, the customer and the AI do not."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content

from console.sanitise import cell
from console.screens.guarded import Dialog
from console.widgets.composer import Composer
from console.widgets.quiet import Quiet
from console.words import KEY, MUTED, STRONG


class NoteDialog(Dialog[tuple[bool, str]]):
    """Its result: whether to keep the note, and what was written, which is not lost when it is closed."""

    CSS_PATH = ["dialog.tcss", "writing.tcss"]  # noqa: RUF012 - Textual's way
    BINDINGS = [Binding("ctrl+s,ctrl+enter", "save", "Keep the note")]  # noqa: RUF012 - Textual's way

    def __init__(self, who: str, text: str) -> None:
        super().__init__()
        self._who, self._text = who, text

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Quiet(Content.assemble(("✎ Private note on ", STRONG), cell(self._who, STRONG, 40)))
            yield Composer()
            yield Quiet(
                Content.assemble(("ctrl+s", KEY), (" keeps it  ", MUTED), ("esc", KEY), (" closes; colleagues see it, "
                "customer and AI do not", MUTED))
            )  # fmt: skip

    def on_mount(self) -> None:
        composer = self.query_one(Composer)
        composer.put(self._text)
        composer.focus()

    def on_composer_left(self) -> None:
        self.dismiss((False, self.query_one(Composer).text))

    def action_save(self) -> None:
        text = self.query_one(Composer).text
        self.dismiss((bool(text.strip()), text))
