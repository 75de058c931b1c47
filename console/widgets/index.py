"""A scrolling list of things to choose from, in groups; tells what the cursor is on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from textual.content import Content
from textual.geometry import Region
from textual.message import Message

from console.widgets.lines import Line, Lines


class Index(Lines):
    """Lines within a scrolling pane; the cursor stays with its target when lines come and go."""

    @dataclass
    class Chosen(Message):
        """The cursor is on another target."""

        index: Index
        target: Any

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Index.Chosen) and message.index is self.index

    def show(self, lines: Iterable[Line | Content]) -> None:
        before = self.target()
        super().show(lines)
        stops = self._stops()
        places = {repr(self._lines[y].target): y for y in stops}
        wanted = places.get(repr(before), min(stops, key=lambda y: abs(y - self.cursor), default=0))
        if wanted != self.cursor:
            self.cursor = wanted
        if self.target() != before:
            self.post_message(self.Chosen(self, self.target()))

    def watch_cursor(self, before: int, now: int) -> None:
        super().watch_cursor(before, now)
        if self.is_mounted and self.parent is not None:
            parent: Any = self.parent
            parent.scroll_to_region(Region(0, now, 1, 1), animate=False)
            self.post_message(self.Chosen(self, self.target()))
