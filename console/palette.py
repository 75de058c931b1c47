"""The command palette's view of the action registry."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from console.actions import ACTIONS, Action
from console.screens.area import AreaScreen

if TYPE_CHECKING:
    from console.app import SwitchboardApp


class ActionCommands(Provider):
    """Every action that is available here, and those of other areas as a way to get there."""

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for action in self._actions():
            name = f"{action.title}: {action.tooltip}"
            score = matcher.match(name)
            if score > 0:
                run = partial(self._run, action)
                yield Hit(score, matcher.highlight(name), run, text=name, help=self._help(action))

    async def discover(self) -> Hits:
        for action in self._actions():
            yield DiscoveryHit(action.title, partial(self._run, action), help=self._help(action))

    def _actions(self) -> Iterator[Action]:
        """Those of this area first."""
        here = self.screen.AREA if isinstance(self.screen, AreaScreen) else ""
        return (a for scope in (here, "app") for a in ACTIONS if a.scope == scope and a.palette)

    def _help(self, action: Action) -> str:
        assert isinstance(self.screen, AreaScreen)
        reason = action.why_not(self.screen)
        key = self.screen.key_of(action)
        return f"{key} – {action.tooltip}" + (f" Not now: {reason}" if reason else "")

    async def _run(self, action: Action) -> None:
        screen = cast("SwitchboardApp", self.app).screen
        if isinstance(screen, AreaScreen):
            await screen.perform(action.id)
