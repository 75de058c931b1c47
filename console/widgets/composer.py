"""Where a person writes. Enter and pasted line ends break the line; nothing but the send key sends."""

from __future__ import annotations

import re

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widgets import TextArea

from engine.observe import sanitise

_REORDERING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
LONGEST = 200_000
"""Characters; far more than the engine takes, so that it can say so."""


def typeable(text: str) -> str:
    """`text` with nothing in it that drives a terminal, and no marks that would only show what was taken out."""
    return sanitise(_REORDERING.sub("", text).replace("\r\n", "\n").replace("\r", "\n"), LONGEST)


class Composer(TextArea):
    """A text to be sent, or kept as a note."""

    BINDINGS = [Binding("escape", "leave", "Leave")]  # noqa: RUF012 - Textual's way
    DEFAULT_CSS = """
    Composer {
        height: auto;
        min-height: 3;
        max-height: 10;
        padding: 0 1;
        border: round $foreground 30%;
    }
    Composer:focus { border: round $primary; }
    Composer:disabled { border: round $foreground 15%; }
    """

    class Left(Message):
        """The person wants out of the composer."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, soft_wrap=True, highlight_cursor_line=False, show_line_numbers=False)
        self.cursor_blink = False
        self._told = Content("")

    def put(self, text: str) -> None:
        """Replace what is written, the cursor at its end."""
        self.load_text(typeable(text))
        self.move_cursor(self.document.end)

    def add(self, text: str) -> None:
        """Put `text` in at the cursor, in place of what is selected."""
        put = self.replace(typeable(text), *self.selection, maintain_selection_offset=False)
        self.move_cursor(put.end_location)

    def tell(self, content: Content) -> None:
        """What stands there while nothing is written."""
        if not content.is_same(self._told):
            self._told = content
            self.placeholder = content

    def action_leave(self) -> None:
        self.post_message(self.Left())

    async def _on_paste(self, event: events.Paste) -> None:
        """Pasted text is as foreign as any other."""
        event.prevent_default()
        event.stop()
        if not self.read_only:
            self.add(event.text)
