"""A text to scroll through: by the keys of lists, besides the arrows."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.containers import VerticalScroll

from console.actions import bindings


class Page(VerticalScroll):
    """Scrolls at once: what moves by itself costs a slow line dearly."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("page")

    def action_lines(self, number: int) -> None:
        """Scroll by so many lines."""
        self.scroll_relative(y=number, animate=False)

    def action_pages(self, number: int) -> None:
        """Scroll by so many times what is seen, less a line."""
        self.scroll_relative(y=number * max(1, self.size.height - 1), animate=False)

    def action_first(self) -> None:
        self.scroll_home(animate=False)

    def action_last(self) -> None:
        self.scroll_end(animate=False)
