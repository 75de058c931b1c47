"""The areas with their keys, and how many things in each want a person."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual import events
from textual.content import Content
from textual.reactive import var

from console.areas import AREAS, Area
from console.widgets.lines import Line, Lines
from console.words import KEY, MUTED, WARN

if TYPE_CHECKING:
    from engine.observe.health import SystemHealth


RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
"""Counts stand raised, so that they are not taken for keys."""


WAYS: tuple[tuple[Callable[[Area], str], str], ...] = (
    (lambda area: area.title, " "),
    (lambda area: area.title, ""),
    (lambda area: area.brief or area.title, ""),
    (lambda area: "", ""),
)
"""How a tab that is not chosen is called, and what stands before it: the first way that fits is taken."""


class AreaTabs(Lines):
    """One line of tabs, closer together and with shorter words where there is little room."""

    DEFAULT_CSS = """
    AreaTabs { height: 1; padding: 0 1; }
    """

    badges: var[tuple[int, ...]] = var((0,) * len(AREAS))

    def __init__(self, chosen: str) -> None:
        super().__init__()
        self._chosen = chosen
        self._ends: list[tuple[int, str]] = []

    def tell(self, health: SystemHealth) -> None:
        """Take the counts from `health`."""
        self.badges = tuple(area.badge(health) if area.badge else 0 for area in AREAS)

    def watch_badges(self) -> None:
        self._draw_tabs()

    def on_resize(self) -> None:
        self._draw_tabs()

    def _draw_tabs(self) -> None:
        chosen = next(index for index, area in enumerate(AREAS) if area.id == self._chosen)
        for title_of, gap in WAYS:
            titles = [area.title if index == chosen else title_of(area) for index, area in enumerate(AREAS)]
            tabs = [self._tab(index, title, gap) for index, title in enumerate(titles)]
            if sum(tab.cell_length for tab in tabs) - 1 <= self.size.width:
                break
        end, self._ends = 0, []
        for area, tab in zip(AREAS, tabs, strict=True):
            end += tab.cell_length
            self._ends.append((end, area.id))
        self.show([Line(Content("").join(tabs).rstrip())])

    def _tab(self, index: int, title: str, gap: str) -> Content:
        area, badge = AREAS[index], self.badges[index]
        count = (str(badge if badge < 1000 else "999⁺").translate(RAISED), WARN) if badge else ""
        if area.id == self._chosen:
            return Content.assemble((f"{gap}{area.key} {title}", ".tab--chosen"), count, " ")
        return Content.assemble(gap, (area.key, KEY), (f" {title}" if title else "", MUTED), count, " ")

    async def _on_click(self, event: events.Click) -> None:
        event.stop()
        x = event.get_content_offset_capture(self).x
        for end, name in self._ends:
            if x < end:
                await self.run_action(f"app.area('{name}')")
                return
