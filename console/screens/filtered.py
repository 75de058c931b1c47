"""An area whose list is filtered by the words in a bar above it."""

from __future__ import annotations

from typing import Any

from textual.widget import Widget

from console.screens.area import AreaScreen
from console.widgets.filter_bar import FilterBar


class FilteredScreen(AreaScreen):
    """What its screens tell: which list, how words are read, and what to do with the filter they make."""

    @property
    def _list(self) -> Widget:
        raise NotImplementedError

    def read_filter(self, words: str) -> Any:
        """The filter that these words make. Raises `SearchError` where they make none."""
        raise NotImplementedError

    def filtered(self, words: str, search: Any) -> None:
        """Show what matches, from the beginning."""
        raise NotImplementedError

    def act_filter(self) -> None:
        self.query_one(FilterBar).edit()

    def on_filter_bar_changed(self, event: FilterBar.Changed) -> None:
        self._list.focus()
        self.filter_by(event.words)

    def on_filter_bar_given_up(self) -> None:
        self._list.focus()

    def filter_by(self, words: str) -> None:
        """Show what matches these words, or why nothing can; the filter in force then stays."""
        from engine.observe.search import SearchError

        try:
            search = self.read_filter(words)
        except SearchError as error:
            self.query_one(FilterBar).refuse(str(error))
        else:
            self.filtered(words, search)
