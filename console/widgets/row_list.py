"""A list of any length: rows are drawn when they are seen, and only those that changed are drawn again.

Rows are kept oldest first and identified by `key`. The list asks for more by `RowList.Wanted` when its
cursor nears an end; its owner answers with `prepend` or `append`. At the newest end it follows what comes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

from textual import events
from textual.binding import BindingType
from textual.cache import LRUCache
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.reactive import var
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.visual import Visual

from console.actions import bindings
from console.widgets.lines import fit
from console.words import LOOKS

Row = TypeVar("Row")
MARGIN = 20
"""Rows from an end at which more are asked for."""
STRIPS = 500


class RowList(ScrollView, Generic[Row], can_focus=True, inherit_bindings=False):
    """Rows, drawn by `draw`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*LOOKS, "lines--cursor"}
    DEFAULT_CSS = """
    RowList {
        text-wrap: nowrap;
        text-overflow: ellipsis;
        scrollbar-size-vertical: 1;
        overflow-x: hidden;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("list")
    ALLOW_SELECT = False
    KEEP = 20_000
    """Rows held at most; the farther end is let go and read again when it is wanted."""

    cursor: var[int] = var(0, init=False)
    follow = var(True)
    """Stay with the newest row."""

    @dataclass
    class Highlighted(Message):
        """The cursor is on another row, or the row under it has changed."""

        row: Any

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, RowList.Highlighted)

    @dataclass
    class Opened(Message):
        """A row was opened."""

        row: Any

    @dataclass
    class Wanted(Message):
        """More rows are wanted beyond `edge`, the key of the row at that end."""

        where: Literal["older", "newer"]
        edge: int

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, RowList.Wanted) and message.where == self.where

    def __init__(
        self,
        key: Callable[[Row], int],
        *,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._key = key
        self._rows: list[Row] = []
        self._index: dict[int, int] = {}
        self._strips: LRUCache[tuple[int, bool, bool], Strip] = LRUCache(STRIPS)
        self._drawn_width = 0
        self.empty = Content("")
        """Shown in place of rows when there are none."""
        self.at_oldest = False
        """Nothing older exists."""
        self.at_newest = True
        """Nothing newer exists but what a poll brings."""

    def draw(self, row: Row, width: int) -> Content:
        """One row as one line."""
        raise NotImplementedError

    # Rows

    @property
    def rows(self) -> Sequence[Row]:
        return self._rows

    @property
    def row(self) -> Row | None:
        """The row under the cursor."""
        return self._rows[self.cursor] if 0 <= self.cursor < len(self._rows) else None

    @property
    def newest(self) -> int | None:
        """The key of the newest row held."""
        return self._key(self._rows[-1]) if self._rows else None

    def in_view(self) -> Sequence[Row]:
        """The rows on the screen now."""
        top = self.scroll_offset.y
        return self._rows[top : top + self.size.height]

    def replace(self, rows: Sequence[Row], *, at_oldest: bool, at_newest: bool = True) -> None:
        """Show these rows instead of all others, the newest under the cursor."""
        self._rows = list(rows)
        self.at_oldest, self.at_newest = at_oldest, at_newest
        self._reindex()
        self.follow = at_newest
        self.set_reactive(RowList.cursor, max(0, len(rows) - 1))
        self._resized(scroll=True)
        self.call_after_refresh(self._to_end)  # its size may not be known yet
        self._highlight()

    def append(self, rows: Sequence[Row], *, at_newest: bool) -> None:
        """Add newer rows; with `follow` the cursor goes along. One that comes late is put in its place."""
        self.at_newest = at_newest
        rows = [row for row in rows if self._key(row) not in self._index]
        if not rows:
            return
        under_cursor = self._key(self.row) if self.row is not None else None
        start = len(self._rows)
        late = start > 0 and self._key(rows[0]) < self._key(self._rows[-1])
        self._rows.extend(rows)
        if late:
            self._rows.sort(key=self._key)
        dropped = max(0, len(self._rows) - self.KEEP)
        if dropped:
            del self._rows[:dropped]
            self.at_oldest = False
        self._reindex(0 if dropped or late else start)
        if self.follow:
            self.set_reactive(RowList.cursor, len(self._rows) - 1)
        elif under_cursor is not None:
            self.set_reactive(RowList.cursor, self._index.get(under_cursor, 0))
        self._resized(scroll=self.follow, shift=0 if self.follow else -dropped)
        if self.follow:
            self._highlight()

    def prepend(self, rows: Sequence[Row], *, at_oldest: bool) -> None:
        """Add older rows; what is on the screen stays where it is."""
        self.at_oldest = at_oldest
        rows = [row for row in rows if self._key(row) not in self._index]
        if not rows:
            return
        self._rows[:0] = rows
        if len(self._rows) > self.KEEP:
            del self._rows[self.KEEP :]
            self.at_newest = self.follow = False
        self._reindex()
        self.set_reactive(RowList.cursor, min(len(self._rows) - 1, self.cursor + len(rows)))
        self._resized(shift=len(rows))

    def renew(self, rows: Sequence[Row]) -> None:
        """Newer states of rows that are held already; only those that differ are drawn again."""
        for row in rows:
            y = self._index.get(self._key(row))
            if y is None or self._rows[y] == row:
                continue
            self._rows[y] = row
            for flags in ((False, False), (True, False), (True, True)):
                self._strips.discard((self._key(row), *flags))
            self.refresh_line(y)
            if y == self.cursor:
                self._highlight()

    def _reindex(self, start: int = 0) -> None:
        if start == 0:
            self._index.clear()
        for y in range(start, len(self._rows)):
            self._index[self._key(self._rows[y])] = y

    def _resized(self, *, scroll: bool = False, shift: int = 0) -> None:
        self.virtual_size = Size(self.size.width, len(self._rows))
        if scroll:
            self._to_end()
        elif shift:
            self.scroll_to(y=max(0, self.scroll_offset.y + shift), animate=False, immediate=True)
        self.refresh()

    # Drawing

    def notify_style_update(self) -> None:
        self._strips.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        y += self.scroll_offset.y
        width = self.size.width
        if width != self._drawn_width:
            self._strips.clear()
            self._drawn_width = width
        if y >= len(self._rows):
            return self._to_strip(self.empty if y == 0 else Content(""), width)
        row, under_cursor = self._rows[y], y == self.cursor
        token = (self._key(row), under_cursor, under_cursor and self.has_focus)
        strip = self._strips.get(token)
        if strip is None:
            strip = self._strips[token] = self._strip(row, width, under_cursor)
        return strip

    def _strip(self, row: Row, width: int, under_cursor: bool) -> Strip:
        mark = "▌" if under_cursor else " "
        content = Content.assemble((mark, ".key"), self.draw(row, width - 1))
        if under_cursor and self.has_focus:
            content = fit(content, width).stylize(".lines--cursor")
        return self._to_strip(content, width)

    def _to_strip(self, content: Content, width: int) -> Strip:
        strips = Visual.to_strips(self, content, width, 1, self.visual_style, pad=True)
        return strips[0] if strips else Strip.blank(width, self.visual_style.rich_style)

    # The cursor

    def validate_cursor(self, value: int) -> int:
        return max(0, min(value, len(self._rows) - 1))

    def watch_cursor(self, before: int, now: int) -> None:
        self.refresh_line(before)
        self.refresh_line(now)
        self.follow = self.at_newest and now == len(self._rows) - 1
        top, height = self.scroll_offset.y, max(1, self.size.height)
        if now < top:
            self.scroll_to(y=now, animate=False, immediate=True)
        elif now >= top + height:
            self.scroll_to(y=now - height + 1, animate=False, immediate=True)
        self._want(now, now)
        self._highlight()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        top = round(new_value)
        if top + self.size.height < len(self._rows):
            self.follow = False
        self._want(top, top + self.size.height)

    def _want(self, first: int, last: int) -> None:
        if not self._rows:
            return
        if first < MARGIN and not self.at_oldest:
            self.post_message(self.Wanted("older", self._key(self._rows[0])))
        if last > len(self._rows) - MARGIN and not self.at_newest:
            self.post_message(self.Wanted("newer", self._key(self._rows[-1])))

    def _highlight(self) -> None:
        self.post_message(self.Highlighted(self.row))

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._rows))
        self.call_after_refresh(self._to_end)

    def _to_end(self) -> None:
        if self.follow:
            self.scroll_end(animate=False, immediate=True, x_axis=False)

    def on_focus(self) -> None:
        self.refresh_line(self.cursor)

    def on_blur(self) -> None:
        self.refresh_line(self.cursor)

    def action_cursor(self, step: int) -> None:
        self.cursor += step

    def action_page(self, pages: int) -> None:
        self.cursor += pages * max(1, self.size.height - 1)

    def action_first(self) -> None:
        self.cursor = 0

    def action_last(self) -> None:
        """The newest row held; of a list whose newest end was let go, the owner is asked for it."""
        if self.at_newest:
            self.cursor = len(self._rows) - 1
            self.follow = True
            self._to_end()
        elif self._rows:
            self.post_message(self.Wanted("newer", -1))

    def action_open(self) -> None:
        if self.row is not None:
            self.post_message(self.Opened(self.row))

    async def _on_click(self, event: events.Click) -> None:
        y = event.get_content_offset_capture(self).y + self.scroll_offset.y
        if 0 <= y < len(self._rows):
            event.stop()
            self.focus()
            again, self.cursor = y == self.cursor, y
            if again:
                self.action_open()
