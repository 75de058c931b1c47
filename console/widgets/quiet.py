"""A Static that stays silent: the same content again writes nothing to the terminal."""

from __future__ import annotations

from typing import ClassVar

from textual.content import Content
from textual.widgets import Static

from console.words import LOOKS


class Quiet(Static):
    """Wrapped text that changes rarely. Takes Content only, never markup."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {*LOOKS}

    def __init__(
        self, content: Content | None = None, *, id: str | None = None, classes: str | None = None
    ) -> None:
        self._shown = content or Content("")
        super().__init__(self._shown, id=id, classes=classes, markup=False)

    def show(self, content: Content) -> None:
        """Show `content` unless it is there already."""
        if not content.is_same(self._shown):
            self._shown = content
            self.update(content)

    @property
    def shown(self) -> Content:
        return self._shown
