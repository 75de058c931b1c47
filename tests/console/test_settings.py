"""The Settings area: what is changed is in the database and the audit log; what is refused changed nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from textual.widgets import Input

from console.screens.ask import Ask
from console.screens.confirm import Confirm
from console.screens.editor import Editor
from console.screens.reader import Reader
from console.screens.routing import RoutingEditor, TestCalls
from console.screens.settings import SettingsScreen
from console.screens.settings_words import parse, typed
from console.widgets.composer import Composer
from engine.database.connection import Connection
from tests.console.stage import Stage, stage
from tests.support.trip import trip

HOSTILE = "\x1b]52;c;aGk=\x07[red]bold[/red]\u202e"


async def rows(db: Connection, sql: str, *params: Any) -> list[dict[str, Any]]:
    return await (await db.execute(sql.encode(), params)).fetchall()


async def audits(db: Connection) -> list[str]:
    return [row["act"] for row in await rows(db, "SELECT act FROM et_audit_log ORDER BY id")]


async def setting(db: Connection, key: str) -> Any:
    found = await rows(db, "SELECT value FROM et_platform_settings WHERE key = %s", key)
    return found[0]["value"] if found else None


async def at(seen: Stage, kind: str, key: Any) -> SettingsScreen:
    """Open the area, the cursor on this."""
    await seen.press("7")
    await seen.sees("Platform", "Agents")
    screen = seen.app.screen
    assert isinstance(screen, SettingsScreen)
    targets = [line.target for line in screen.index.lines]
    screen.index.cursor = targets.index((kind, key))
    await seen.until(lambda: screen.chosen == (kind, key) and screen.about_chosen.about == (kind, key))
    await seen.pilot.pause()
    return screen


async def opened(seen: Stage, dialog: type[Any]) -> Any:
    return await seen.until(
        lambda: isinstance(seen.app.screen, dialog) and seen.app.screen, f"{dialog.__name__}"
    )


async def type_over(seen: Stage, text: str) -> None:
    """Put `text` in place of what the editor holds."""
    seen.app.screen.query_one(Composer).load_text(text)
    await seen.pilot.pause()


async def save(seen: Stage) -> None:
    await seen.press("ctrl+s")
    await seen.until(lambda: isinstance(seen.app.screen, SettingsScreen), "the editor is closed")


async def test_lines_are_walked_down_and_up(dsn: str) -> None:
    async with stage(dsn, (80, 24)) as seen:
        screen = await at(seen, "setting", "llm_routing_config")
        for down, up in (("j", "k"), ("down", "up")):
            await seen.press(down)
            assert screen.chosen == ("setting", "quiet_window")
            await seen.press(up)
            assert screen.chosen == ("setting", "llm_routing_config")


# Platform settings


async def test_a_switch_is_toggled_by_enter_and_audited(dsn: str, db: Connection) -> None:
    async with stage(dsn, (80, 24)) as seen:
        await at(seen, "setting", "record_context_prompt")
        await seen.press("enter")
        await seen.hears("Record context prompt: on")
        await seen.sees("→ on")
    assert await setting(db, "record_context_prompt") is True
    assert "setting.set" in await audits(db)


async def test_a_value_that_cannot_be_used_is_refused_with_its_reason(dsn: str, db: Connection) -> None:
    async with stage(dsn, (80, 24)) as seen:
        await at(seen, "setting", "quiet_window")
        await seen.press("e")
        await opened(seen, Ask)
        entry = seen.app.screen.query_one(Input)
        for bad, reason in (
            ("20 5", "max_seconds is less than seconds"),
            ("soon", "not a number"),
            ("3", "two numbers"),
            ("-1 5", "greater than or"),
        ):
            entry.value = bad
            await seen.sees("✗ ", reason)
            await seen.press("enter")
            assert isinstance(seen.app.screen, Ask), bad
        before = await setting(db, "quiet_window")
        assert "setting.set" not in await audits(db)
        entry.value = "3 12"
        await seen.sees("✓ 3 s, at most 12 s")
        await seen.press("enter")
        await seen.sees("3 s, at most 12 s", "→ 3 s")
    assert before != {"seconds": 3.0, "max_seconds": 12.0}
    assert await setting(db, "quiet_window") == {"seconds": 3.0, "max_seconds": 12.0}


@pytest.mark.parametrize(
    ("key", "text", "stored"),
    [
        ("daily_budget_usd", "2.50", 2.5),
        ("daily_budget_usd", "", None),
        ("max_message_age_hours", "48", 48.0),
    ],
)
async def test_numbers_are_typed_as_people_do(
    dsn: str, db: Connection, key: str, text: str, stored: Any
) -> None:
    async with stage(dsn) as seen:
        await at(seen, "setting", key)
        await seen.press("e")
        await opened(seen, Ask)
        seen.app.screen.query_one(Input).value = text
        await seen.press("enter")
        await seen.until(lambda: isinstance(seen.app.screen, SettingsScreen))
        await seen.sees("Changes  enter puts a value back")
    found = await rows(db, "SELECT value FROM et_platform_settings WHERE key = %s", key)
    assert [row["value"] for row in found] == [stored]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("daily_budget_usd", 1234567.89),
        ("max_message_age_hours", 1.23456789),
        ("quiet_window", {"seconds": 1.0000001, "max_seconds": 2.0}),
    ],
)
def test_what_is_left_as_it_stands_in_the_field_is_not_changed(key: str, value: Any) -> None:
    assert parse(key, typed(key, value)) == value


async def test_the_kill_switch_asks_first(dsn: str, db: Connection) -> None:
    async with stage(dsn) as seen:
        await at(seen, "setting", "ai_paused")
        await seen.press("e")
        await opened(seen, Confirm)
        await seen.press("enter")
        await opened(seen, SettingsScreen)
        assert await setting(db, "ai_paused") is None
        await seen.press("e")
        await opened(seen, Confirm)
        await seen.press("y")
        await seen.sees("→ on")
    assert await setting(db, "ai_paused") is True


async def test_an_earlier_value_is_put_back(dsn: str, db: Connection) -> None:
    async with stage(dsn) as seen:
        screen = await at(seen, "setting", "record_context_prompt")
        await seen.press("e")
        await seen.sees("→ on")
        await seen.press("e")
        await seen.sees("→ off")
        await seen.press("tab")
        await seen.until(lambda: screen.detail.has_focus)
        await seen.press("j", "enter")
        await opened(seen, Ask)
        await seen.sees("Put this value in force again?")
        await seen.write("needed")
        await seen.press("enter")
        await seen.until(lambda: screen.view and screen.view.settings["record_context_prompt"].value is True)
    assert await setting(db, "record_context_prompt") is True
    acts = await rows(db, "SELECT note FROM et_audit_log WHERE act = 'setting.set' ORDER BY id")
    assert [act["note"] for act in acts] == [None, None, "needed"]


async def test_the_first_change_is_taken_back_to_the_default(dsn: str, db: Connection) -> None:
    async with stage(dsn) as seen:
        await at(seen, "setting", "max_message_age_hours")
        await seen.press("e")
        await opened(seen, Ask)
        seen.app.screen.query_one(Input).value = "7"
        await seen.press("enter")
        await seen.sees("→ 7 hours")
        await seen.press("b")
        await opened(seen, Ask)
        await seen.write("too few")
        await seen.press("enter")
        await seen.sees("too few  → the default")
    assert await rows(db, "SELECT 1 FROM et_platform_settings WHERE key = 'max_message_age_hours'") == []


# Routing

ROUTING = {"default": [{"provider": "zai", "model": "glm-4.7"}], "tasks": {"conversation": [
    {"provider": "uniapi", "model": "gpt-5-mini"}, {"provider": "zai", "model": "glm-4.7-flash"}]}}  # fmt: skip


async def test_a_routing_is_judged_while_it_is_typed_and_only_a_good_one_is_kept(
    dsn: str, db: Connection
) -> None:
    async with stage(dsn) as seen:
        await at(seen, "setting", "llm_routing_config")
        await seen.press("J")
        await opened(seen, RoutingEditor)
        await seen.sees("✓ every task: uniapi gemini-3-flash-preview, then zai")
        await type_over(seen, '{"default": [')
        await seen.sees("✗ llm_routing_config is not JSON", "line 1")
        await type_over(seen, '{"default": [{"provider": "acme", "model": "m"}]}')
        await seen.sees("✗ llm_routing_config names the provider 'acme'", "uniapi, zai")
        await seen.press("ctrl+s")
        await seen.pilot.pause(0.5)
        assert isinstance(seen.app.screen, RoutingEditor)
        assert await setting(db, "llm_routing_config") is None
        await type_over(seen, json.dumps(ROUTING))
        await seen.sees(
            "✓ conversation: uniapi gpt-5-mini, then zai glm-4.7-flash", "every other task: zai glm-4.7"
        )
        seen.app.screen.query_one("#reason", Input).value = "cheaper"
        await save(seen)
        await seen.sees("1 uniapi gpt-5-mini", "2 zai glm-4.7-flash", "cheaper")
    assert await setting(db, "llm_routing_config") == ROUTING
    (note,) = await rows(db, "SELECT note FROM et_audit_log WHERE act = 'setting.set'")
    assert note["note"] == "cheaper"


async def test_a_change_is_thrown_away_only_when_asked_twice(dsn: str, db: Connection) -> None:
    async with stage(dsn) as seen:
        await at(seen, "setting", "llm_routing_config")
        await seen.press("J")
        await opened(seen, RoutingEditor)
        await type_over(seen, json.dumps(ROUTING))
        await seen.press("escape")
        await seen.hears("Not kept yet")
        assert isinstance(seen.app.screen, RoutingEditor)
        await seen.press("escape")
        await opened(seen, SettingsScreen)
    assert await setting(db, "llm_routing_config") is None


@pytest.mark.timeout(90)
async def test_routing_and_test_calls_on_a_running_engine(dsn: str, db: Connection, tmp_path: Path) -> None:
    with trip(dsn, tmp_path) as whole:
        whole.start()
        async with stage(dsn, settings=whole.settings) as seen:
            await at(seen, "setting", "llm_routing_config")
            await seen.press("J")
            await opened(seen, RoutingEditor)
            await type_over(seen, json.dumps(ROUTING))
            await seen.press("ctrl+t")
            await opened(seen, TestCalls)
            await seen.sees("✓ uniapi gpt-5-mini", "✓ zai glm-4.7-flash", "✓ zai glm-4.7", "tokens")
            assert await setting(db, "llm_routing_config") is None
            await seen.press("escape")
            await save(seen)
            await seen.sees("1 uniapi gpt-5-mini", "test call: 3 of 3 routes answered")
        message = whole.insert("which model are you?")
        whole.until_status(message, "inbound_ai_replied")
        assert whole.turn(message)["model"] == "gpt-5-mini"
    (tested,) = await rows(db, "SELECT after FROM et_audit_log WHERE act = 'routing.test'")
    assert {(r["provider"], r["model"], r["ok"]) for r in tested["after"]["routes"]} == {
        ("uniapi", "gpt-5-mini", True), ("zai", "glm-4.7-flash", True), ("zai", "glm-4.7", True)
    }  # fmt: skip


async def test_a_test_call_without_a_key_says_so(dsn: str) -> None:
    async with stage(dsn) as seen:
        await at(seen, "setting", "llm_routing_config")
        await seen.press("t")
        await opened(seen, Confirm)
        await seen.press("y")
        await opened(seen, TestCalls)
        await seen.sees("✗ uniapi gemini-3-flash-preview", "not called", "✗ zai")


async def test_what_engines_refuse_is_shown(dsn: str, db: Connection) -> None:
    await db.execute(
        "INSERT INTO et_platform_settings (key, value) VALUES ('llm_routing_config', %s)",
        [Jsonb({"default": [{"provider": "acme", "model": HOSTILE}]})],
    )
    async with stage(dsn) as seen:
        await at(seen, "setting", "llm_routing_config")
        await seen.sees("✗ refused", "Engines refuse what is stored")
        await seen.press("e")
        await opened(seen, RoutingEditor)
        await seen.sees("✗ llm_routing_config names the provider 'acme'")
        assert not {"\x1b", "\x07", "\u202e"} & set(seen.text)


# Agents


async def test_a_new_prompt_its_diff_and_the_way_back(dsn: str, db: Connection) -> None:
    (before,) = await rows(db, "SELECT prompt FROM et_agent_versions WHERE agent_id = 1")
    async with stage(dsn) as seen:
        screen = await at(seen, "agent", 1)
        await seen.press("e")
        await opened(seen, Editor)
        await seen.sees("characters, about")
        await type_over(seen, before["prompt"] + "\nAlways be brief.")
        seen.app.screen.query_one("#reason", Input).value = "shorter answers"
        await save(seen)
        await seen.sees("● v2", "shorter answers")
        await seen.press("d")
        await opened(seen, Reader)
        await seen.sees("Version 1 → 2", "+ Always be brief.")
        await seen.press("escape")
        await opened(seen, SettingsScreen)
        await seen.press("b")
        await seen.hears("Choose an earlier version first")
        await seen.press("tab", "j", "b")
        await opened(seen, Ask)
        await seen.sees("Let version 1 answer again?", "Say why")
        await seen.press("enter")
        await opened(seen, Ask)
        await seen.write("too short")
        await seen.press("enter")
        await seen.until(lambda: screen.view and screen.view.setup.agents[0].version == 1)
        await seen.sees("● v1", "back to v1", "too short")
    (agent,) = await rows(db, "SELECT active_version FROM et_agents WHERE id = 1")
    assert agent["active_version"] == 1
    (made,) = await rows(db, "SELECT prompt, note FROM et_agent_versions WHERE agent_id = 1 AND version = 2")
    assert made["prompt"].endswith("Always be brief.")
    assert made["note"] == "shorter answers"
    assert (await audits(db))[-2:] == ["agent.version", "agent.rollback"]
    (why,) = await rows(db, "SELECT note FROM et_audit_log WHERE act = 'agent.rollback'")
    assert why["note"] == "too short"


async def test_an_empty_prompt_is_refused(dsn: str, db: Connection) -> None:
    async with stage(dsn) as seen:
        await at(seen, "agent", 1)
        await seen.press("e")
        await opened(seen, Editor)
        await type_over(seen, "  \n ")
        await seen.sees("✗ The prompt is empty.")
        await seen.press("ctrl+s")
        await seen.pilot.pause(0.3)
        assert isinstance(seen.app.screen, Editor)
    assert len(await rows(db, "SELECT 1 FROM et_agent_versions WHERE agent_id = 1")) == 1


async def test_a_policy_is_checked_and_becomes_a_version(dsn: str, db: Connection) -> None:
    async with stage(dsn) as seen:
        await at(seen, "agent", 1)
        await seen.press("P")
        await opened(seen, Editor)
        await seen.sees("max_reply_chars")
        await type_over(seen, '{"max_reply_chars": 5}')
        await seen.sees("✗ The policy is not valid: max_reply_chars")
        await type_over(seen, "{not json")
        await seen.sees("✗ That is not JSON")
        await type_over(seen, '{"max_reply_chars": 300, "blocked_phrases": ["refund"]}')
        await seen.sees("✓ max_reply_chars 300")
        await save(seen)
        await seen.sees("● v2", "max_reply_chars 300")
    (made,) = await rows(db, "SELECT policy FROM et_agent_versions WHERE agent_id = 1 AND version = 2")
    assert made["policy"] == {"max_reply_chars": 300, "blocked_phrases": ["refund"]}


async def test_an_agent_is_switched_off_after_a_question_and_drafts_on_demand(
    dsn: str, db: Connection
) -> None:
    async with stage(dsn) as seen:
        await at(seen, "agent", 1)
        await seen.press("M")
        await seen.sees("◐ drafts, a person sends")
        await seen.press("o")
        await opened(seen, Confirm)
        await seen.press("y")
        await seen.sees("○ switched off")
    (agent,) = await rows(db, "SELECT enabled, mode FROM et_agents WHERE id = 1")
    assert (agent["enabled"], agent["mode"]) == (False, "suggest")


# The rest


async def test_a_canned_reply_is_made_changed_and_deleted(dsn: str, db: Connection) -> None:
    texts = "SELECT text_content FROM et_canned_replies WHERE shortcut = 'hours'"
    async with stage(dsn) as seen:
        await at(seen, "setting", "record_context_prompt")
        await seen.press("n")
        await opened(seen, Ask)
        seen.app.screen.query_one(Input).value = "two words"
        await seen.sees("✗ Use letters")
        seen.app.screen.query_one(Input).value = "/hours"
        await seen.press("enter")
        await opened(seen, Editor)
        await type_over(seen, "From nine to five.")
        await save(seen)
        await seen.sees("/hours")
        await at(seen, "canned", (1, "hours"))
        await seen.press("e")
        await opened(seen, Editor)
        await type_over(seen, "From ten to four.")
        await save(seen)
        await seen.sees("From ten to four.")
        assert [row["text_content"] for row in await rows(db, texts)] == ["From ten to four."]
        await seen.press("x")
        await opened(seen, Confirm)
        await seen.press("y")
        await seen.until(lambda: "/hours" not in seen.text)
    assert await rows(db, texts) == []
    assert [act for act in await audits(db) if "canned" in act] == [
        "canned.save",
        "canned.save",
        "canned.delete",
    ]


async def test_a_tenant_gets_a_cap(dsn: str, db: Connection) -> None:
    async with stage(dsn) as seen:
        await at(seen, "tenant", 1)
        await seen.press("e")
        await opened(seen, Ask)
        seen.app.screen.query_one(Input).value = "4.5"
        await seen.press("enter")
        await seen.sees("$4.50 a day")
    (tenant,) = await rows(db, "SELECT daily_budget_usd FROM et_tenants WHERE id = 1")
    assert float(tenant["daily_budget_usd"]) == 4.5


async def test_read_only_shows_everything_and_changes_nothing(dsn: str, db: Connection) -> None:
    async with stage(dsn, read_only=True) as seen:
        for chosen in (("setting", "record_context_prompt"), ("setting", "llm_routing_config"), ("agent", 1)):
            await at(seen, *chosen)
            for key in ("e", "t", "b", "o", "n", "P", "M", "enter"):
                await seen.press(key)
                assert isinstance(seen.app.screen, SettingsScreen), key
        await seen.hears("This console is read-only.")
    assert await audits(db) == []


async def test_hostile_names_and_notes_are_tame(dsn: str, db: Connection) -> None:
    await db.execute("UPDATE et_agents SET name = %s", [HOSTILE])
    await db.execute("UPDATE et_agent_versions SET note = %s, created_by = %s", [HOSTILE, HOSTILE])
    await db.execute("UPDATE et_tenants SET name = %s", [HOSTILE])
    await db.execute(
        "INSERT INTO et_canned_replies (tenant_id, shortcut, text_content) VALUES (1, %s, %s)", [HOSTILE] * 2
    )
    await db.execute(
        "INSERT INTO et_audit_log (actor, act, subject, after, note)"
        " VALUES (%s, 'setting.set', 'setting:ai_paused', %s, %s)",
        [HOSTILE, Jsonb({"value": HOSTILE}), HOSTILE],
    )
    async with stage(dsn) as seen:
        for chosen in (("agent", 1), ("tenant", 1), ("canned", (1, HOSTILE)), ("setting", "ai_paused")):
            await at(seen, *chosen)
            await seen.sees("[red]bold[/red]")
            assert not {"\x1b", "\x07", "\u202e"} & set(seen.text)
        await at(seen, "agent", 1)
        await seen.press("tab", "enter")
        await opened(seen, Reader)
        assert not {"\x1b", "\x07", "\u202e"} & set(seen.text)
