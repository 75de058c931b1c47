"""What all acts of the Settings area share: what is chosen, and the hands to act with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from textual.content import Content

from console.screens.area import AreaScreen
from console.screens.confirm import Confirm
from console.screens.settings_rows import SettingsView

if TYPE_CHECKING:
    from console.widgets.index import Index
    from engine.observe.records import Act
    from engine.observe.setup import VersionRow
    from engine.operator.what_if import Trial


class SettingsBase(AreaScreen):
    """The Settings area without its panes and acts."""

    def __init__(self) -> None:
        super().__init__()
        self.view: SettingsView | None = None
        self.chosen: Any = None
        """What the cursor of the index is on: (kind, key)."""

    @property
    def detail(self) -> Index:
        raise NotImplementedError

    @property
    def about_chosen(self) -> SettingsView:
        """What was read, without the history of what was chosen before."""
        assert self.view is not None
        return self.view if self.view.about == self.chosen else replace(self.view, changes=(), versions=())

    @property
    def version_under_cursor(self) -> VersionRow | None:
        """The version the cursor is on, else the active one."""
        if self.view is None or not self.about_chosen.versions:
            return None
        versions, target = self.about_chosen.versions, self.detail.target()
        if self.detail.has_focus and isinstance(target, tuple) and target[0] == "version":
            return next((v for v in versions if v.version == target[1]), None)
        return next((v for v in versions if v.active), None)

    @property
    def version_to_try(self) -> VersionRow | None:
        """The version the cursor is on, else the newest one: it is tried before it goes live."""
        versions, target = self.about_chosen.versions, self.detail.target()
        if self.detail.has_focus and isinstance(target, tuple) and target[0] == "version":
            return self.version_under_cursor
        return max(versions, key=lambda one: one.version, default=None)

    @property
    def former_change(self) -> Act | None:
        """The change the cursor is on, else the newest one."""
        if self.view is None:
            return None
        target = self.detail.target()
        if self.detail.has_focus and isinstance(target, tuple) and target[0] == "change":
            return target[1]  # type: ignore[no-any-return]
        return next((act for act in self.about_chosen.changes if act.act.startswith("setting.")), None)

    async def _confirm(self, question: str, detail: Content | str, yes: str) -> bool:
        return await self.app.push_screen_wait(Confirm(question, detail, yes=yes))

    async def _try(self, trial: Trial) -> None:
        """A what-if, from the question which messages to its results."""
        from console.screens.what_if_start import ask_filter, start

        words = await ask_filter(self, trial)
        if words is not None:
            await start(self, trial, words)
