"""The way back: earlier versions of an agent, and earlier values of a setting."""

from __future__ import annotations

import json

from textual import work
from textual.content import Content

from console.sanitise import cell, foreign
from console.screens.ask import Ask
from console.screens.reader import Reader
from console.screens.settings_base import SettingsBase
from console.screens.settings_words import ROUTING, read_out
from console.words import MUTED, STRONG


class SettingsVersions(SettingsBase):
    """Reading, comparing and rolling back."""

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def read_version(self, number: int) -> None:
        """A version, whole."""
        from engine.observe.setup import version

        pool, _ = self._hands()
        found = await version(pool, self.subject("agent"), number)
        if found is not None:
            title = Content.assemble(
                (f"Version {number} ", STRONG), ("by ", MUTED), cell(found.created_by, MUTED)
            )
            policy = json.dumps(found.policy, indent=2, ensure_ascii=False)
            body = Content.assemble(foreign(found.prompt), ("\n\nPolicy ", STRONG), foreign(policy))
            self.app.push_screen(Reader(title, body))

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_diff(self) -> None:
        """What the version under the cursor changed; the oldest one is held against the active one."""
        from console.screens.version_diff import diff_body
        from engine.operator.agent_versions import diff_versions

        pool, _ = self._hands()
        chosen, versions = self.version_under_cursor, self.about_chosen.versions
        if chosen is None or len(versions) < 2:
            self.say("There is only one version.")
            return
        older = next((v for v in versions if v.version < chosen.version), None)
        old, new = (older, chosen) if older else (chosen, next(v for v in versions if v.active))
        made = await diff_versions(pool, self.subject("agent"), old.version, new.version)
        title = Content.assemble(
            (f"Version {old.version} → {new.version} ", STRONG), cell(new.note or "", MUTED)
        )
        self.app.push_screen(Reader(title, diff_body(made)))

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_roll_back(self) -> None:
        if self.chosen[0] == "agent":
            await self._roll_version_back()
        else:
            await self._roll_setting_back(self.chosen[1])

    async def _roll_version_back(self) -> None:
        from engine.operator.agent_versions import rollback

        version = self.version_under_cursor
        if version is None or version.active:
            self.say("Choose an earlier version first: tab goes to the versions.", bad=True)
            return
        question = f"Let version {version.version} answer again?"
        why = await self._why(question, f"By {version.created_by}. {version.note or ''}")
        if why is not None:
            await self.do(rollback(*self._hands(), self.subject("agent"), version.version, note=why))

    async def _roll_setting_back(self, key: str) -> None:
        """Put back the value of the change under the cursor; else what was there before the newest one."""
        from engine.operator.configuration import put_back

        change = self.former_change
        assert change is not None
        this_one = self.detail.has_focus
        kept = change.after if this_one else change.before
        told = "the default" if kept is None else read_out(key, kept.get("value"))
        if key == ROUTING and kept is not None:
            told = json.dumps(kept.get("value"), ensure_ascii=False)
        why = await self._why("Put this value in force again?", told)
        if why is not None:
            to, past = (change.id, None) if this_one else (None, change.id)
            await self.do(put_back(*self._hands(), key, to=to, past=past, note=why))

    async def _why(self, question: str, detail: str) -> str | None:
        """The reason of a way back; None: it is not gone."""

        def check(text: str) -> str:
            if not text.strip():
                raise ValueError("Say why: it is kept with the rollback.")
            return "enter rolls back"

        why: str | None = await self.app.push_screen_wait(Ask(question, detail, "", check))
        return None if why is None else why.strip()
