"""A conversation: entries of wrapped text below each other, each with a head line and a gutter.

Only lines that changed are drawn again. The cursor moves from entry to entry; at the end the view follows
what comes, elsewhere it stays where it is. Near the beginning it asks for more by `Transcript.Wanted`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import events
from textual.binding import BindingType
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

NEAR = 10
"""Lines from the beginning at which more is asked for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in a conversation."""

    key: Hashable
    body: Content
    head: Content | None = None
    """Who and when; None continues the entry above."""
    state: Content | None = None
    """At the right end of the head line."""
    gutter: str = "▎"
    style: str = ""
    """Of the gutter."""
    target: Any = None
    """What it leads to; the cursor skips entries that lead nowhere."""

    def same(self, other: Entry) -> bool:
        """Whether nothing of it would look or lead elsewhere."""
        return (self.key, self.gutter, self.style, self.target) == (
            other.key,
            other.gutter,
            other.style,
            other.target,
        ) and all(
            (a is None) == (b is None) and (a is None or b is None or a.is_same(b))
            for a, b in ((self.body, other.body), (self.head, other.head), (self.state, other.state))
        )


class Transcript(ScrollView, can_focus=True):
    """Entries, the oldest first."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*LOOKS, "lines--cursor"}
    DEFAULT_CSS = """
    Transcript {
        overflow-x: hidden;
        scrollbar-size-vertical: 1;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("list")
    ALLOW_SELECT = False

    cursor: reactive[int] = reactive(0, init=False)

    @dataclass
    class Opened(Message):
        """An entry was opened."""

        target: Any

    @dataclass
    class Wanted(Message):
        """What was said before is wanted, if there is any."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, Transcript.Wanted)

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._entries: Sequence[Entry] = ()
        self._blocks: dict[Hashable, tuple[Entry, tuple[bool, bool], list[Strip]]] = {}
        self._keys: list[Hashable] = []
        """Of the entries that are laid out, which are others than `entries` while there is no room."""
        self._starts: list[int] = []
        """The first line of each of them."""
        self._lines: list[Strip] = []
        self._width = 0
        self.follow = True

    @property
    def entries(self) -> Sequence[Entry]:
        return self._entries

    @property
    def entry(self) -> Entry | None:
        """The entry under the cursor."""
        return self._entries[self.cursor] if 0 <= self.cursor < len(self._entries) else None

    def show(self, entries: Sequence[Entry], *, anew: bool = False) -> None:
        """Show these entries; `anew` is another conversation, which opens at its end."""
        if anew:
            self._blocks.clear()
            self.follow = True
        chosen, top = self.entry, self._top()
        self._entries = entries
        keep = next((i for i, e in enumerate(entries) if chosen and e.key == chosen.key), None)
        last = self._stop(len(entries) - 1, -1)
        self.set_reactive(Transcript.cursor, last if self.follow or keep is None else keep)
        self._lay_out(top)

    # Layout

    def _top(self) -> tuple[Hashable, int] | None:
        """The entry at the top of the view, and how far it is scrolled out."""
        if not self._starts:
            return None
        y = self.scroll_offset.y
        place = max(0, bisect_right(self._starts, y) - 1)
        return self._keys[place], y - self._starts[place]

    def _lay_out(self, top: tuple[Hashable, int] | None) -> None:
        """Entries to lines; lines that stay as they are are not drawn again."""
        width = self.size.width
        if width <= 4:
            return
        if width != self._width:
            self._blocks.clear()
            self._width = width
        before = self._lines
        lines: list[Strip] = []
        starts: list[int] = []
        for place, entry in enumerate(self._entries):
            starts.append(len(lines))
            lines += self._block(place, entry)
        self._lines, self._starts = lines, starts
        self._keys = [entry.key for entry in self._entries]
        keys = set(self._keys)
        self._blocks = {key: block for key, block in self._blocks.items() if key in keys}
        if len(lines) == len(before):
            for y, (old, new) in enumerate(zip(before, lines, strict=True)):
                if old is not new:
                    self.refresh_line(y)
        else:
            self.virtual_size = Size(width, len(lines))
            self.refresh()
        self._settle(top)

    def _settle(self, top: tuple[Hashable, int] | None) -> None:
        """Follow the end, or keep in place what stood at the top."""
        if self.follow:
            self.scroll_end(animate=False, immediate=True, x_axis=False)
        elif top is not None:
            for place, entry in enumerate(self._entries):
                if entry.key == top[0]:
                    self.scroll_to(y=self._starts[place] + top[1], animate=False, immediate=True)

    def _block(self, place: int, entry: Entry) -> list[Strip]:
        looks = (self.has_focus and place == self.cursor, place == 0)
        held = self._blocks.get(entry.key)
        if held is None or held[1] != looks or not held[0].same(entry):
            held = self._blocks[entry.key] = (entry, looks, self._draw(entry, *looks))
        return held[2]

    def _draw(self, entry: Entry, chosen: bool, first: bool) -> list[Strip]:
        room = self._width - 3
        mark = Content.styled("▌ " if chosen else f"{entry.gutter} ", ".key" if chosen else entry.style)
        lines = []
        if entry.head is not None:
            state = entry.state or Content("")
            name = fit(entry.head, max(1, room - state.cell_length - 1))
            lines.append(Content.assemble(mark, name, " ", state))
        lines += [Content.assemble(mark, line) for line in entry.body.wrap(room)] if entry.body.plain else []
        if entry.head is not None and not first:
            lines.insert(0, Content(""))
        return [self._strip(line) for line in lines]

    def _strip(self, line: Content) -> Strip:
        strips = Visual.to_strips(self, line, self._width, 1, self.visual_style, pad=True)
        return strips[0] if strips else self._blank()

    def _blank(self) -> Strip:
        return Strip.blank(self.size.width, self.visual_style.rich_style)

    def render_line(self, y: int) -> Strip:
        y += self.scroll_offset.y
        return self._lines[y] if y < len(self._lines) and self._width == self.size.width else self._blank()

    def notify_style_update(self) -> None:
        self._blocks.clear()
        super().notify_style_update()
        if self._entries:
            self._lay_out(self._top())

    def on_resize(self) -> None:
        self._lay_out(self._top())

    # The cursor

    def _stop(self, place: int, step: int) -> int:
        """The first entry from `place` on that leads somewhere; where there is none, the present one."""
        while 0 <= place < len(self._entries):
            if self._entries[place].target is not None:
                return place
            place += step
        return min(self.cursor, max(0, len(self._entries) - 1))

    def watch_cursor(self, before: int, now: int) -> None:
        self.follow = now == self._stop(len(self._entries) - 1, -1)
        self._lay_out(self._top())
        if not self.follow and now < len(self._starts):
            first = self._starts[now]
            end = self._starts[now + 1] if now + 1 < len(self._starts) else len(self._lines)
            top, height = self.scroll_offset.y, self.size.height
            if first < top:
                self.scroll_to(y=first, animate=False, immediate=True)
            elif end > top + height:
                self.scroll_to(y=min(first, end - height), animate=False, immediate=True)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        top = round(new_value)
        self.follow = top + self.size.height >= len(self._lines)
        if top < NEAR and top < round(old_value):
            self.post_message(self.Wanted())

    def on_focus(self) -> None:
        self._lay_out(self._top())

    def on_blur(self) -> None:
        self._lay_out(self._top())

    def action_cursor(self, step: int) -> None:
        if self.cursor + step < 0:
            self.post_message(self.Wanted())
        self.cursor = self._stop(self.cursor + step, 1 if step > 0 else -1)

    def action_page(self, pages: int) -> None:
        y = self.scroll_offset.y + pages * max(1, self.size.height - 2)
        self.scroll_to(y=y, animate=False, immediate=True)
        place = bisect_right(self._starts, max(0, min(y, self.max_scroll_y)) + self.size.height // 2) - 1
        self.set_reactive(Transcript.cursor, self._stop(max(0, place), -1))
        self._lay_out(self._top())

    def action_first(self) -> None:
        self.cursor = self._stop(0, 1)
        self.scroll_to(y=0, animate=False, immediate=True)
        self.post_message(self.Wanted())

    def action_last(self) -> None:
        self.cursor = self._stop(len(self._entries) - 1, -1)
        self.scroll_end(animate=False, immediate=True, x_axis=False)

    def action_open(self) -> None:
        if self.entry is not None and self.entry.target is not None:
            self.post_message(self.Opened(self.entry.target))

    async def _on_click(self, event: events.Click) -> None:
        place = (
            bisect_right(self._starts, event.get_content_offset_capture(self).y + self.scroll_offset.y) - 1
        )
        if 0 <= place < len(self._entries) and self._entries[place].target is not None:
            event.stop()
            self.focus()
            again, self.cursor = place == self.cursor, place
            if again:
                self.action_open()
