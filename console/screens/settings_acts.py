"""What can be changed in the Settings area. Every change is one commit with its line in the audit log."""

from __future__ import annotations

from textual import work

from console.screens.ask import Ask
from console.screens.settings_agents import SettingsAgents
from console.screens.settings_upkeep import SettingsUpkeep
from console.screens.settings_words import ROUTING, parse, read_out, typed, words_of


class SettingsActs(SettingsAgents, SettingsUpkeep):
    """Editing, switching and trying out."""

    # Editing

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_edit(self) -> None:
        match self.chosen:
            case ("setting", str(key)) if key == ROUTING:
                await self._edit_routing()
            case ("setting", str(key)):
                await self._edit_setting(key)
            case ("agent", int(agent_id)):
                await self._edit_prompt(agent_id)
            case ("tenant", int(tenant_id)):
                await self._edit_cap(tenant_id)
            case ("canned", (int(tenant_id), str(shortcut))):
                await self._edit_canned(tenant_id, shortcut)
            case ("upkeep", "retention"):
                await self.edit_days()
            case ("upkeep", "alerts"):
                await self.edit_rule()

    async def _edit_setting(self, key: str) -> None:
        from engine.operator.configuration import check_setting, set_setting

        assert self.view is not None
        setting, words = self.view.settings[key], words_of(key)
        if isinstance(setting.default, bool):
            value = setting.value is not True
            if key == "ai_paused" and not await self._confirm(
                "Stop the AI everywhere?" if value else "Let the AI answer again?",
                "Messages wait as received." if value else "It answers what has waited, oldest first.",
                "Stop it" if value else "Let it",
            ):
                return
        else:

            def check(text: str) -> str:
                return read_out(key, check_setting(key, parse(key, text)))

            text = await self.app.push_screen_wait(
                Ask(words.title, words.how, typed(key, setting.value), check)
            )
            if text is None:
                return
            value = parse(key, text)
        stored = await self.do(set_setting(*self._hands(), key, value))
        if stored is not None or value is None:
            self.say(f"{words.title}: {read_out(key, stored)}")

    async def _edit_routing(self) -> None:
        """By task in fields; what engines refuse can only be mended as text."""
        from console.screens.routing_menu import RoutingMenu
        from engine.operator.audit import BadInput
        from engine.operator.configuration import set_setting

        assert self.view is not None
        try:
            form = RoutingMenu("Routing", self.view.settings[ROUTING].value)
        except BadInput:
            await self._edit_routing_text()
            return
        change = await self.app.push_screen_wait(form)
        if change is not None:
            await self.do(set_setting(*self._hands(), ROUTING, change.value, note=change.note))

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_json(self) -> None:
        await self._edit_routing_text()

    async def _edit_routing_text(self) -> None:
        from console.screens.routing import RoutingEditor
        from engine.operator.configuration import set_setting
        from engine.operator.in_words import routing_text, routing_words

        assert self.view is not None
        value = self.view.settings[ROUTING].value
        text = value if isinstance(value, str) else routing_text(value)
        edited = await self.app.push_screen_wait(
            RoutingEditor("Routing", text, routing_words, code=True, why="what it is changed for")
        )
        if edited is not None:
            await self.do(set_setting(*self._hands(), ROUTING, edited.text, note=edited.note))

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_set_up(self) -> None:
        """Connect a language model or a channel."""
        from console.screens.setup import SetupMenu

        await self.app.push_screen_wait(SetupMenu())

    async def _edit_cap(self, tenant_id: int) -> None:
        from engine.operator.configuration import check_setting
        from engine.operator.tenants import update_tenant

        assert self.view is not None
        tenant = next(t for t in self.view.tenants if t.id == tenant_id)
        key = "daily_budget_usd"
        now = typed(key, None if tenant.daily_budget_usd is None else float(tenant.daily_budget_usd))
        text = await self.app.push_screen_wait(
            Ask(
                f"Daily cap of {tenant.name}",
                words_of(key).how,
                now,
                lambda typed_text: read_out(key, check_setting(key, parse(key, typed_text))),
            )
        )
        if text is not None:
            await self.do(update_tenant(*self._hands(), tenant_id, daily_budget_usd=parse(key, text)))

    # Canned replies

    async def _edit_canned(self, tenant_id: int, shortcut: str) -> None:
        from engine.operator.canned import list_canned

        pool, _ = self._hands()
        kept = {reply.shortcut: reply.text for reply in await list_canned(pool, tenant_id)}
        await self._write_canned(tenant_id, shortcut, kept.get(shortcut, ""))

    async def _write_canned(self, tenant_id: int, shortcut: str, text: str) -> None:
        from console.screens.editor import Editor
        from engine.operator.canned import save_canned

        def check(typed_text: str) -> list[str]:
            if not typed_text.strip():
                raise ValueError("The canned reply is empty.")
            return [f"{len(typed_text.strip()):,} characters"]

        edited = await self.app.push_screen_wait(Editor(f"Canned reply /{shortcut}", text, check))
        if edited is not None:
            await self.do(save_canned(*self._hands(), tenant_id, shortcut, edited.text))

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_new(self) -> None:
        """A new canned reply, of the tenant whose things the cursor is among."""
        assert self.view is not None
        tenant_id = self._tenant_at_hand()

        def check(text: str) -> str:
            shortcut = text.strip().removeprefix("/")
            if not shortcut or not all(c.isalnum() or c in "-_" for c in shortcut):
                raise ValueError("Use letters, digits, - and _.")
            return f"/{shortcut}"

        shortcut = await self.app.push_screen_wait(
            Ask("New canned reply", "The shortcut it is called by, e.g. hours", "", check)
        )
        if shortcut is not None and tenant_id is not None:
            await self._write_canned(tenant_id, shortcut.strip().removeprefix("/"), "")

    def _tenant_at_hand(self) -> int | None:
        assert self.view is not None
        match self.chosen:
            case ("tenant", int(tenant_id)) | ("canned", (int(tenant_id), _)):
                return tenant_id
        return self.view.tenants[0].id if self.view.tenants else None

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_delete(self) -> None:
        from engine.operator.canned import delete_canned

        tenant_id, shortcut = self.subject("canned reply")
        if await self._confirm(f"Delete the canned reply /{shortcut}?", "", "Delete it"):
            await self.do(delete_canned(*self._hands(), tenant_id, shortcut))

    # Switching

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_toggle(self) -> None:
        from engine.operator.agents import update_agent
        from engine.operator.tenants import update_tenant

        assert self.view is not None
        match self.chosen:
            case ("agent", int(agent_id)):
                agent = next(a for a in self.view.setup.agents if a.id == agent_id)
                if not agent.enabled or await self._confirm(
                    "Switch this agent off?",
                    "What comes for it goes to people, or to the tenant's next agent.",
                    "Switch off",
                ):
                    await self.do(update_agent(*self._hands(), agent_id, enabled=not agent.enabled))
            case ("tenant", int(tenant_id)):
                tenant = next(t for t in self.view.tenants if t.id == tenant_id)
                if tenant.paused or await self._confirm(
                    "Pause this tenant?", "Its messages go to people until it is resumed.", "Pause it"
                ):
                    await self.do(update_tenant(*self._hands(), tenant_id, paused=not tenant.paused))

    # Test calls

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_test(self) -> None:
        from console.screens.routing import TestCalls

        assert self.view is not None
        if self.chosen == ("upkeep", "alerts"):
            await self.test_alert()
            return
        detail = (
            "Each route is asked once, alone, with a short question. The calls are real and cost a little."
        )
        if await self._confirm("Call every route of the routing?", detail, "Call"):
            self.app.push_screen(TestCalls(self.view.settings[ROUTING].value))
