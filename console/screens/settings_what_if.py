"""Trying a version of an agent before it goes live, and what was tried before."""

from __future__ import annotations

from textual import work

from console.screens.settings_base import SettingsBase


class SettingsWhatIf(SettingsBase):
    """What-ifs of the agent under the cursor."""

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_what_if(self) -> None:
        """The version under the cursor, else the newest one, over past messages."""
        from engine.operator.what_if import Trial

        agent_id, version = self.subject("agent"), self.version_to_try
        if version is not None:
            await self._try(Trial(agent_id, version.version))

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_what_ifs(self) -> None:
        """Everything that was tried with this agent."""
        from console.screens.what_if import WhatIfDialog
        from console.screens.what_if_start import WhatIfPicker
        from engine.operator.what_if import list_what_ifs

        found = await list_what_ifs(self._hands()[0], self.subject("agent"))
        if not found:
            self.say("No version of this agent has been tried yet; w tries one.")
            return
        chosen = await self.app.push_screen_wait(WhatIfPicker(found))
        if chosen is not None:
            await self.app.push_screen_wait(WhatIfDialog(chosen, begin=False))
