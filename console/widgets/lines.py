"""Lines of Content; only those that changed are drawn again.

A line may have a target: then the pane takes the focus, a cursor moves over such lines, and Enter or a click
posts `Lines.Opened` with the target. Such lines are drawn with a free first column, where the cursor has its mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import var
from textual.strip import Strip
from textual.visual import Visual
from textual.widget import Widget

from console.actions import bindings
from console.words import KEY, LOOKS, MUTED, STRONG


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and what it leads to."""

    content: Content
    target: Any = None

    def same(self, other: Line) -> bool:
        """Whether nothing of it would look or lead elsewhere."""
        return self.target == other.target and self.content.is_same(other.content)


def heading(title: str, note: Content | str = "") -> Line:
    """The first line of a pane."""
    return Line(Content.assemble((title, STRONG), "  ", note if isinstance(note, Content) else (note, MUTED)))


def fit(content: Content, width: int, *, right: bool = False) -> Content:
    """`content` cut or padded to `width` cells: a table cell."""
    content = content.truncate(width, ellipsis=True)
    room = width - content.cell_length
    return content.pad_left(room) if right else content.pad_right(room)


def _marked(content: Content, under_cursor: bool) -> Content:
    """A line that leads somewhere, its first column kept free for the cursor's mark, seen without colours too."""
    rest = content[1:] if content.plain.startswith(" ") else content
    return Content.assemble(("▌", KEY) if under_cursor else " ", rest)


def changed_cells(before: Strip, now: Strip) -> tuple[int, int]:
    """The cells in which two lines of equal width differ: the first, and the one after the last."""
    old = [(char, segment.style) for segment in before for char in segment.text]
    new = [(char, segment.style) for segment in now for char in segment.text]
    shorter = min(len(old), len(new))
    head = 0
    while head < shorter and old[head] == new[head]:
        head += 1
    if head == len(old) == len(new):
        return 0, 0
    tail = 0
    while tail < shorter - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    while head and not all(cell_len(chars[head][0]) for chars in (old, new) if head < len(chars)):
        head -= 1  # a mark belongs to the character before it
    while tail and not cell_len(new[-tail][0]):
        tail -= 1
    first = sum(cell_len(char) for char, _ in new[:head])
    return first, now.cell_length - sum(cell_len(char) for char, _ in new[len(new) - tail :])


class Lines(Widget):
    """A pane of lines."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*LOOKS, "lines--cursor"}
    DEFAULT_CSS = """
    Lines {
        height: auto;
        width: 1fr;
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    """
    BINDINGS = bindings("pane")
    ALLOW_SELECT = False

    cursor = var(0)

    @dataclass
    class Opened(Message):
        """A line was opened."""

        lines: Lines
        target: Any

        @property
        def control(self) -> Lines:
            return self.lines

    def __init__(self, *lines: Line, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[Line] = list(lines)
        self._strips: dict[int, Strip] = {}
        self.can_focus = False

    @property
    def lines(self) -> Sequence[Line]:
        return self._lines

    def show(self, lines: Iterable[Line | Content]) -> None:
        """Show these lines; what is on the screen already stays as it is."""
        new = [line if isinstance(line, Line) else Line(line) for line in lines]
        old, self._lines = self._lines, new
        self.can_focus = any(line.target is not None for line in new)
        if not self.can_focus and self.has_focus:
            self.screen.set_focus(None)
        if len(old) != len(new):
            self._strips.clear()
            self.refresh(layout=self.styles.is_auto_height)
            return
        for y, (before, now) in enumerate(zip(old, new, strict=True)):
            if not before.same(now):
                self._refresh_changed(y)

    def target(self) -> Any:
        """What the cursor is on."""
        return self._lines[self.cursor].target if self.cursor < len(self._lines) else None

    # Drawing

    def get_content_width(self, container: Size, viewport: Size) -> int:
        return container.width

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines)

    def notify_style_update(self) -> None:
        self._strips.clear()
        super().notify_style_update()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y >= len(self._lines):
            return Strip.blank(width, self.visual_style.rich_style)
        strip = self._strips.get(y)
        if strip is None or strip.cell_length != width:
            strip = self._strips[y] = self._draw(self._lines[y], width, self.has_focus and y == self.cursor)
        return strip

    def _draw(self, line: Line, width: int, under_cursor: bool) -> Strip:
        content = line.content if line.target is None else _marked(line.content, under_cursor)
        if under_cursor and line.target is not None:
            content = fit(content, width).stylize(".lines--cursor")
        strips = Visual.to_strips(self, content, width, 1, self.visual_style, pad=True)
        return strips[0] if strips else Strip.blank(width, self.visual_style.rich_style)

    def _refresh_changed(self, y: int) -> None:
        """Have only the cells of a line drawn again that differ from what is on the screen."""
        width, before = self.size.width, self._strips.get(y)
        if before is None or before.cell_length != width:
            self._refresh_line(y)
            return
        now = self._draw(self._lines[y], width, self.has_focus and y == self.cursor)
        self._strips[y] = now
        first, last = changed_cells(before, now)
        if first < last:
            self.refresh(Region(first, y, last - first, 1))

    def _refresh_line(self, y: int) -> None:
        self._strips.pop(y, None)
        self.refresh(Region(0, y, self.size.width, 1))

    # The cursor

    def _stops(self) -> list[int]:
        return [y for y, line in enumerate(self._lines) if line.target is not None]

    def watch_cursor(self, before: int, now: int) -> None:
        self._refresh_line(before)
        self._refresh_line(now)

    def on_focus(self) -> None:
        stops = self._stops()
        if stops and self.cursor not in stops:
            self.cursor = stops[0]
        self._refresh_line(self.cursor)

    def on_blur(self) -> None:
        self._refresh_line(self.cursor)

    def action_cursor(self, step: int) -> None:
        """Move the cursor to the next line that leads somewhere."""
        stops = self._stops()
        beyond = [y for y in stops if (y - self.cursor) * step > 0]
        if beyond:
            self.cursor = beyond[0] if step > 0 else beyond[-1]

    def action_first(self) -> None:
        self._go(0)

    def action_last(self) -> None:
        self._go(-1)

    def _go(self, stop: int) -> None:
        if stops := self._stops():
            self.cursor = stops[stop]

    def action_open(self) -> None:
        target = self.target()
        if target is not None:
            self.post_message(self.Opened(self, target))

    async def _on_click(self, event: events.Click) -> None:
        y = event.get_content_offset_capture(self).y
        if 0 <= y < len(self._lines) and self._lines[y].target is not None:
            event.stop()
            self.cursor = y
            self.action_open()
