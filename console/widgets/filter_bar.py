"""One line above a list: what is shown of it, and where `/` types another filter."""

from __future__ import annotations

from dataclasses import dataclass

from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from console.sanitise import cell
from console.widgets.lines import Line, Lines, fit
from console.words import BAD, KEY, MUTED


class FilterInput(Input):
    """Escape gives up typing; nothing blinks."""

    BINDINGS = [  # noqa: RUF012 - Textual's way
        Binding("enter", "submit", "Filter"),
        Binding("escape", "give_up", "Give up"),
    ]

    def on_mount(self) -> None:
        self.cursor_blink = False
        self.can_focus = False  # until it is asked for

    def action_give_up(self) -> None:
        self.post_message(FilterBar.GivenUp())


class FilterBar(Widget):
    """Shows a filter; while it is edited, an input in its place."""

    DEFAULT_CSS = """
    FilterBar { height: 1; layout: horizontal; }
    FilterBar FilterInput { display: none; width: 1fr; }
    FilterBar.-typing FilterInput { display: block; }
    FilterBar.-typing Lines { display: none; }
    """

    @dataclass
    class Changed(Message):
        """Another filter was typed."""

        words: str

    @dataclass
    class GivenUp(Message):
        """Typing was given up."""

    def __init__(self, everything: str, example: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._everything, self._example = everything, example
        self._words, self._note, self._bad = "", "", False

    def compose(self) -> ComposeResult:
        yield Lines()
        yield FilterInput(placeholder=self._example, compact=True)

    @property
    def typing(self) -> bool:
        return self.has_class("-typing")

    def edit(self) -> None:
        """Type a filter, beginning with the present one."""
        self._bad = False
        field = self.query_one(FilterInput)
        field.can_focus = True
        self.add_class("-typing")
        field.value = self._words
        field.focus()

    def tell(self, words: str, note: str = "") -> None:
        """Show the filter in force, and a note: how far was looked. What was refused meanwhile stays told."""
        if self._bad and words == self._words:
            return
        self._words, self._note, self._bad = words, note, False
        self._draw_line()

    def refuse(self, problem: str) -> None:
        """Say what is wrong with what was typed, until somebody types again; the filter in force stays."""
        self._note, self._bad = problem, True
        self._draw_line()

    def on_resize(self) -> None:
        self._draw_line()

    def _draw_line(self) -> None:
        shown = cell(self._words) if self._words else Content.styled(self._everything, MUTED)
        left = Content.assemble((" / ", KEY), shown)
        right = cell(self._note, BAD if self._bad else MUTED)
        room = max(10, self.size.width - right.cell_length - 2)
        self.query_one(Lines).show([Line(Content.assemble(fit(left, room), " ", right, " "))])

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._typed()
        self.post_message(self.Changed(event.value.strip()))

    def on_filter_bar_given_up(self) -> None:
        self._typed()

    def _typed(self) -> None:
        self.remove_class("-typing")
        self.query_one(FilterInput).can_focus = False
