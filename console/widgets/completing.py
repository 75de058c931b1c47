"""An input that completes the word at its end from words in use: Tab takes what is offered."""

from __future__ import annotations

from collections.abc import Sequence

from textual.binding import Binding
from textual.suggester import Suggester
from textual.widgets import Input

from console.sanitise import cell


class _LastWord(Suggester):
    """Offers the first known word that begins like the last one typed."""

    def __init__(self, known: Sequence[str]) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._known = known

    async def get_suggestion(self, value: str) -> str | None:
        before, space, last = value.rpartition(" ")
        typed = {word.casefold() for word in before.split()}
        for word in self._known:
            fits = word.casefold().startswith(last.casefold()) and word.casefold() not in typed
            if last and fits and len(word) > len(last):
                return f"{before}{space}{last}{word[len(last) :]}"
        return None


class Completing(Input):
    """One line with completion."""

    BINDINGS = [Binding("tab", "take_offer", "Complete", show=False)]  # noqa: RUF012 - Textual's way

    def __init__(self, text: str, known: Sequence[str] = (), *, id: str | None = None) -> None:
        safe = tuple(word for word in known if word == cell(word).plain)
        super().__init__(
            text, suggester=_LastWord(safe) if safe else None, compact=True, id=id, select_on_focus=False
        )

    def on_mount(self) -> None:
        self.cursor_blink = False

    def action_take_offer(self) -> None:
        """What is offered, and a space for the next word."""
        if self._suggestion and self._suggestion != self.value:
            self.value = f"{self._suggestion} "
            self.cursor_position = len(self.value)
