"""The bottom line: the keys of this area, greyed where they do nothing now."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual import events
from textual.content import Content

from console.actions import in_scope
from console.widgets.lines import Line, Lines
from console.words import KEY, MUTED

if TYPE_CHECKING:
    from console.screens.area import AreaScreen


class KeyBar(Lines):
    """The actions of an area, then those of the app, as many as fit."""

    DEFAULT_CSS = """
    KeyBar { height: 1; padding: 0 1; }
    """

    def __init__(self, scope: str) -> None:
        super().__init__()
        own = [a for a in in_scope(scope) if a.footer]
        taken = {a.key for a in own}
        self._actions = [*own, *(a for a in in_scope("app") if a.footer and a.key not in taken)]
        self._ends: list[tuple[int, str]] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, lambda _: self.call_later(self.tell))

    def on_resize(self) -> None:
        self.tell()

    def tell(self) -> None:
        """Show the keys as they are now."""
        host = cast("AreaScreen", self.screen)
        parts: list[Content] = []
        end, self._ends = 0, []
        for action in self._actions:
            if action.demo and host.switchboard.demo is None:
                continue
            key, enabled = host.key_of(action), action.why_not(host) is None
            part = Content.assemble(
                (key, KEY if enabled else MUTED), (f" {action.title}  ", "" if enabled else MUTED)
            )
            if end + part.cell_length > self.size.width + 2:
                break
            end += part.cell_length
            self._ends.append((end, action.id))
            parts.append(part)
        self.show([Line(Content("").join(parts))])

    async def _on_click(self, event: events.Click) -> None:
        event.stop()
        x = event.get_content_offset_capture(self).x
        for end, action_id in self._ends:
            if x < end:
                await cast("AreaScreen", self.screen).perform(action_id)
                return
