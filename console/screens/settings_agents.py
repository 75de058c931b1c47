"""What can be changed of an agent: each change of prompt, policy or routes is a new version of it."""

from __future__ import annotations

from textual import work

from console.screens.settings_base import SettingsBase
from console.screens.settings_words import ROUTING


class SettingsAgents(SettingsBase):
    """Acts on the agent under the cursor."""

    async def _edit_prompt(self, agent_id: int) -> None:
        """Written, tried over past messages as often as one likes, and kept."""
        from console.screens.editor import TrialEditor
        from engine.observe.setup import version
        from engine.operator.agent_versions import new_agent_version
        from engine.operator.in_words import prompt_words
        from engine.operator.what_if import Trial

        pool, operator = self._hands()
        active = next((a for a in self.view.setup.agents if a.id == agent_id), None) if self.view else None
        now = await version(pool, agent_id, active.version) if active else None
        if active is None or now is None:
            return
        title, why = (
            f"Prompt of {active.name} · v{now.version}",
            "what it is changed for, kept with the version",
        )
        text = now.prompt
        while True:
            edited = await self.app.push_screen_wait(
                TrialEditor(title, text, prompt_words, why=why, before=now.prompt)
            )
            if edited is None:
                return
            if not edited.tried:
                break
            text = edited.text
            await self._try(Trial(agent_id, now.version, prompt=text))
        made = await self.do(
            new_agent_version(pool, operator, agent_id, prompt=edited.text, note=edited.note)
        )
        if made is not None:
            self.say(f"Version {made} answers from now on; d shows what it changed.")

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_policy(self) -> None:
        """A new version of the agent with another policy."""
        from console.screens.editor import Editor
        from engine.operator.agent_versions import new_agent_version
        from engine.operator.in_words import parse_policy, policy_text, policy_words

        agent_id = self.subject("agent")
        active = next((v for v in self.about_chosen.versions if v.active), None)
        if active is None:
            return
        edited = await self.app.push_screen_wait(
            Editor(
                "Policy", policy_text(active.policy), policy_words, code=True, why="what it is changed for"
            )
        )
        if edited is not None:
            policy = parse_policy(edited.text)
            made = await self.do(new_agent_version(*self._hands(), agent_id, policy=policy, note=edited.note))
            if made is not None:
                self.say(f"Version {made} is in force.")

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_routing(self) -> None:
        """A new version of the agent with routes of its own, or with the platform's again."""
        from console.screens.routing_menu import RoutingMenu
        from engine.operator.agent_versions import new_agent_version
        from engine.operator.what_if import Trial

        agent_id = self.subject("agent")
        active = next((v for v in self.about_chosen.versions if v.active), None)
        if active is None or self.view is None:
            return
        own = active.routing is not None
        before = value = active.routing if own else self.view.settings[ROUTING].value
        title = f"Routing of agent {agent_id}" + ("" if own else ": the platform's so far")
        while True:
            change = await self.app.push_screen_wait(
                RoutingMenu(title, value, of_agent=True, own=own, before=before)
            )
            if change is None:
                return
            if not change.tried:
                break
            value = change.value
            await self._try(Trial(agent_id, active.version, routing=value))
        made = await self.do(
            new_agent_version(*self._hands(), agent_id, routing=change.value, note=change.note)
        )
        if made is not None:
            self.say(f"Version {made} is in force.")

    async def act_mode(self) -> None:
        from engine.operator.agents import update_agent

        assert self.view is not None
        agent = next(a for a in self.view.setup.agents if a.id == self.subject("agent"))
        await self.do(
            update_agent(*self._hands(), agent.id, mode="suggest" if agent.mode == "auto" else "auto")
        )
