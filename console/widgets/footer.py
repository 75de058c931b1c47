"""The bottom line: the keys that do something now, greyed where their act has to wait.

While a text is typed, letters are text: then only the keys that still act are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.widget import Widget

from console.actions import BY_ID, Action, in_scope
from console.widgets.lines import Line, Lines
from console.words import KEY, MUTED

if TYPE_CHECKING:
    from console.screens.area import AreaScreen

LAST = ("app.help", "app.faults", "app.quit")
"""Always shown, whatever else has no room; the faults in a demonstration."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key, and what it does."""

    name: str
    title: str
    run: str
    """A Textual action of the focused widget, or an action's id."""
    enabled: bool = True

    @property
    def content(self) -> Content:
        return Content.assemble(
            (self.name, KEY if self.enabled else MUTED), (f" {self.title}  ", "" if self.enabled else MUTED)
        )


class KeyBar(Lines):
    """The actions of an area, then those of the app, as many as fit: greyed ones give way first."""

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
        keys = self._fitting(self._typing() or [*self._acting()], self.size.width + 2)
        end, self._ends = 0, []
        for key in keys:
            end += key.content.cell_length
            self._ends.append((end, key.run))
        self.show([Line(Content("").join(key.content for key in keys).rstrip())])

    def _acting(self) -> list[Key]:
        host = cast("AreaScreen", self.screen)
        return [
            Key(host.key_of(action), host.title_of(action), action.id, action.why_not(host) is None)
            for action in self._actions
            if not action.demo or host.switchboard.demo is not None
        ]

    def _typing(self) -> list[Key]:
        """What still acts while the focused widget takes letters; nothing when it takes none."""
        focused = self.screen.focused
        if focused is None or not focused.check_consume_key("a", "a"):
            return []
        host = cast("AreaScreen", self.screen)
        own = [
            Key(host.switchboard.key_name(binding.key), binding.description, f"focused.{binding.action}")
            for binding in type(focused).BINDINGS
            if isinstance(binding, Binding) and binding.show
        ]
        return [*own, *(key for action in self._actions if (key := self._untyped(action, focused)))]

    def _untyped(self, action: Action, focused: Widget) -> Key | None:
        """An action by the first of its keys that is not text to `focused`."""
        host = cast("AreaScreen", self.screen)
        for key in host.keys_of(action):
            bound = host.active_bindings.get(key)  # it may be bound nearer to the focus, as ctrl+c is
            name = host.switchboard.key_name(key)
            typed = focused.check_consume_key(key, name if len(name) == 1 else None)
            if not typed and bound is not None and bound.binding.id == action.id:
                return Key(name, action.title, action.id, action.why_not(host) is None)
        return None

    def _fitting(self, keys: list[Key], width: int) -> list[Key]:
        """As many as fit: those that act before those that do not, the first before the last."""
        wanted = sorted(keys, key=lambda key: (key.run not in LAST, not key.enabled))
        kept, room = set[str](), width
        for key in wanted:
            room -= key.content.cell_length
            if room < 0:
                break
            kept.add(key.run)
        return [key for key in keys if key.run in kept]

    async def _on_click(self, event: events.Click) -> None:
        event.stop()
        x = event.get_content_offset_capture(self).x
        run = next((run for end, run in self._ends if x < end), None)
        if run in BY_ID:
            await cast("AreaScreen", self.screen).perform(run)
        elif run is not None and self.screen.focused is not None:
            await self.screen.focused.run_action(run.removeprefix("focused."))
