"""A list whose rows may change places: every look at the database brings it whole, what differs is drawn.

Rows are identified by `key` and have `HEIGHT` lines each. The cursor stays on its row wherever that goes.
Near the last row the list asks for more by `ArrangedList.Wanted`; its owner answers with a longer `show`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from textual import events
from textual.binding import BindingType
from textual.cache import LRUCache
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from console.actions import bindings
from console.widgets.lines import fit
from console.words import LOOKS

Row = TypeVar("Row")
MARGIN = 15
"""Rows from the wanted end at which more are asked for."""
STRIPS = 600


class ArrangedList(ScrollView, Generic[Row], can_focus=True):
    """Rows, drawn by `draw`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*LOOKS, "lines--cursor"}
    DEFAULT_CSS = """
    ArrangedList {
        text-wrap: nowrap;
        text-overflow: ellipsis;
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("list")
    ALLOW_SELECT = False
    HEIGHT: ClassVar[int] = 1
    """Lines of a row."""
    TAIL: ClassVar[bool] = False
    """The last row is the newest: the list opens there and follows what comes; more is wanted at the top."""

    cursor: reactive[int] = reactive(0, init=False)

    @dataclass
    class Highlighted(Message):
        """The cursor is on another row, or the row under it has changed."""

        rows: ArrangedList[Any]
        row: Any

        @property
        def control(self) -> ArrangedList[Any]:
            return self.rows

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, ArrangedList.Highlighted) and message.rows is self.rows

    @dataclass
    class Opened(Message):
        """A row was opened."""

        rows: ArrangedList[Any]
        row: Any

        @property
        def control(self) -> ArrangedList[Any]:
            return self.rows

    @dataclass
    class Wanted(Message):
        """More rows are wanted, if there are any."""

        rows: ArrangedList[Any]

        @property
        def control(self) -> ArrangedList[Any]:
            return self.rows

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, ArrangedList.Wanted) and message.rows is self.rows

    def __init__(
        self, key: Callable[[Row], Hashable], *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._key = key
        self._rows: Sequence[Row] = ()
        self._strips: LRUCache[tuple[Hashable, bool, bool], tuple[Row, list[Strip]]] = LRUCache(STRIPS)
        self._drawn_width = 0
        self._anew = False
        self.follow = self.TAIL
        """Stay with the last row."""
        self.empty = Content("")
        """Shown in place of rows when there are none."""

    def draw(self, row: Row, width: int) -> Sequence[Content]:
        """One row as `HEIGHT` lines."""
        raise NotImplementedError

    # Rows

    @property
    def rows(self) -> Sequence[Row]:
        return self._rows

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        return self._rows[self.cursor] if 0 <= self.cursor < len(self._rows) else None

    def in_view(self) -> Sequence[Row]:
        """The rows on the screen."""
        top = self.scroll_offset.y // self.HEIGHT
        return self._rows[top : top + self.size.height // self.HEIGHT + 2]

    def say_when_empty(self, content: Content) -> None:
        """What stands in place of rows while there are none."""
        if not content.is_same(self.empty):
            self.empty = content
            if not self._rows:
                self.refresh()

    def show(self, rows: Sequence[Row]) -> None:
        """Show these rows. The cursor stays on its row; only lines that differ are drawn again."""
        before, chosen, offset = self._rows, self.row, self._offset()
        if self._anew:
            chosen, offset, self._anew = None, 0, False
            self.follow = self.TAIL
        elif rows == before:
            return
        self._rows = rows
        self.set_reactive(ArrangedList.cursor, self._place(chosen))
        if len(rows) != len(before):
            self.virtual_size = Size(self.size.width, len(rows) * self.HEIGHT)
        for y in range(max(len(rows), len(before))):
            if y >= len(rows) or y >= len(before) or rows[y] != before[y]:
                self._refresh_row(y)
        self._show_cursor(offset)
        if self.row is not chosen and self.row != chosen:
            self._highlight()

    def start_anew(self) -> None:
        """What is shown next is another list: the cursor begins at its start."""
        self._anew = True

    def go_to(self, key: Hashable) -> bool:
        """Put the cursor on a row; False when it is not in the list."""
        for y, row in enumerate(self._rows):
            if self._key(row) == key:
                self.cursor = y
                return True
        return False

    def _place(self, chosen: Row | None) -> int:
        """Where the row that was chosen is now; where it is gone, what took its place."""
        last = max(0, len(self._rows) - 1)
        if chosen is None or (self.TAIL and self.follow):
            return last if self.TAIL else 0
        key = self._key(chosen)
        if self.cursor < len(self._rows) and self._key(self._rows[self.cursor]) == key:
            return self.cursor
        return next((y for y, row in enumerate(self._rows) if self._key(row) == key), min(self.cursor, last))

    def _offset(self) -> int | None:
        """How far below the top the cursor is, in lines; None when it is out of sight."""
        offset = self.cursor * self.HEIGHT - self.scroll_offset.y
        return offset if 0 <= offset < self.size.height else None

    def _show_cursor(self, offset: int | None) -> None:
        """Keep the row under the cursor where it was on the screen, if rows came above it."""
        if self.TAIL and self.follow:
            self.scroll_end(animate=False, immediate=True, x_axis=False)
        elif self.TAIL and offset is not None:
            self.scroll_to(y=self.cursor * self.HEIGHT - offset, animate=False, immediate=True)
        elif offset is not None:
            self._into_view()

    def _into_view(self) -> None:
        first, top = self.cursor * self.HEIGHT, self.scroll_offset.y
        height = max(self.HEIGHT, self.size.height)
        if first < top:
            self.scroll_to(y=first, animate=False, immediate=True)
        elif first + self.HEIGHT > top + height:
            self.scroll_to(y=first + self.HEIGHT - height, animate=False, immediate=True)

    # Drawing

    def notify_style_update(self) -> None:
        self._strips.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        y += self.scroll_offset.y
        width = self.scrollable_content_region.width
        if width != self._drawn_width:
            self._strips.clear()
            self._drawn_width = width
        place, line = divmod(y, self.HEIGHT)
        if place >= len(self._rows):
            return self._to_strip(self.empty if y == 0 and not self._rows else Content(""), width)
        row, under_cursor = self._rows[place], place == self.cursor
        token = (self._key(row), under_cursor, under_cursor and self.has_focus)
        held = self._strips.get(token)
        if held is None or held[0] != row:
            held = self._strips[token] = (row, self._draw(row, width, under_cursor))
        return held[1][line]

    def _draw(self, row: Row, width: int, under_cursor: bool) -> list[Strip]:
        mark = "▌" if under_cursor else " "
        lines = [Content.assemble((mark, ".key"), line) for line in self.draw(row, width - 1)]
        if under_cursor and self.has_focus:
            lines = [fit(line, width).stylize(".lines--cursor") for line in lines]
        return [self._to_strip(line, width) for line in lines]

    def _to_strip(self, content: Content, width: int) -> Strip:
        strips = Visual.to_strips(self, content, width, 1, self.visual_style, pad=True)
        return strips[0] if strips else Strip.blank(width, self.visual_style.rich_style)

    def _refresh_row(self, place: int) -> None:
        self.refresh_lines(place * self.HEIGHT, self.HEIGHT)

    # The cursor

    def validate_cursor(self, value: int) -> int:
        return max(0, min(value, len(self._rows) - 1))

    def watch_cursor(self, before: int, now: int) -> None:
        self._refresh_row(before)
        self._refresh_row(now)
        self.follow = self.TAIL and now == len(self._rows) - 1
        self._into_view()
        self._want(now, now)
        self._highlight()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        top = round(new_value) // self.HEIGHT
        bottom = top + self.size.height // self.HEIGHT
        if self.TAIL and bottom < len(self._rows):
            self.follow = False
        self._want(top, bottom)

    def _want(self, first: int, last: int) -> None:
        near = first < MARGIN if self.TAIL else last >= len(self._rows) - MARGIN
        if near and self._rows:
            self.post_message(self.Wanted(self))

    def _highlight(self) -> None:
        self.post_message(self.Highlighted(self, self.row))

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._rows) * self.HEIGHT)
        if self.TAIL and self.follow:
            self.scroll_end(animate=False, immediate=True, x_axis=False)
        else:
            self._into_view()

    def on_focus(self) -> None:
        self._refresh_row(self.cursor)

    def on_blur(self) -> None:
        self._refresh_row(self.cursor)

    def action_cursor(self, step: int) -> None:
        self.cursor += step

    def action_page(self, pages: int) -> None:
        self.cursor += pages * max(1, self.size.height // self.HEIGHT - 1)

    def action_first(self) -> None:
        """The first row; where it is there already, and more may lie before it, that is asked for."""
        self.cursor = 0
        if self.TAIL:
            self.post_message(self.Wanted(self))

    def action_last(self) -> None:
        self.cursor = len(self._rows) - 1
        self.follow = self.TAIL

    def action_open(self) -> None:
        if self.row is not None:
            self.post_message(self.Opened(self, self.row))

    async def _on_click(self, event: events.Click) -> None:
        place = (event.get_content_offset_capture(self).y + self.scroll_offset.y) // self.HEIGHT
        if 0 <= place < len(self._rows):
            event.stop()
            self.focus()
            again, self.cursor = place == self.cursor, place
            if again:
                self.action_open()
