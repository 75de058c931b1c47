"""The areas with their keys, and how many things in each want a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events
from textual.content import Content
from textual.reactive import var

from console.areas import AREAS
from console.widgets.lines import Line, Lines
from console.words import KEY, MUTED, WARN

if TYPE_CHECKING:
    from engine.observe.health import SystemHealth


RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
"""Counts stand raised, so that they are not taken for keys."""


class AreaTabs(Lines):
    """One line of tabs; when they do not fit, those not chosen are cut short."""

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
        width = self.size.width
        for letters in (20, 6, 5, 4, 3, 0):
            tabs = [self._tab(index, letters) for index in range(len(AREAS))]
            if sum(tab.cell_length for tab in tabs) <= width:
                break
        end, self._ends = 0, []
        for area, tab in zip(AREAS, tabs, strict=True):
            end += tab.cell_length
            self._ends.append((end, area.id))
        self.show([Line(Content("").join(tabs))])

    def _tab(self, index: int, letters: int) -> Content:
        area, badge = AREAS[index], self.badges[index]
        count = (str(badge if badge < 1000 else "999⁺").translate(RAISED), WARN) if badge else ""
        if area.id == self._chosen:
            return Content.assemble((f" {area.key} {area.title}", ".tab--chosen"), count, " ")
        title = f" {area.title[:letters]}" if letters else ""
        return Content.assemble((f" {area.key}", KEY), (title, MUTED), count, " ")

    async def _on_click(self, event: events.Click) -> None:
        event.stop()
        x = event.get_content_offset_capture(self).x
        for end, name in self._ends:
            if x < end:
                await self.run_action(f"app.area('{name}')")
                return
