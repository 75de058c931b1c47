"""The routing as a form: what is wrong is told at its field, what is kept is in the database with who and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from textual.widgets import Input

from console.screens.ask import Ask
from console.screens.routing import RoutingEditor, TestCalls
from console.screens.routing_menu import RoutingMenu
from console.screens.rows_form import FormRow, RowsForm
from console.screens.settings import SettingsScreen
from engine.database.connection import Connection
from tests.console.stage import Stage, stage
from tests.console.test_settings import at, audits, opened, rows, setting
from tests.support.trip import trip

SIZES = pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])


def entry(seen: Stage, row: int, name: str) -> Input:
    """A field of the form."""
    found = list(seen.app.screen.query(FormRow))[row].query(Input)
    return next(one for one in found if one.name == name)


async def fill(seen: Stage, row: int, **texts: str) -> None:
    for name, text in texts.items():
        entry(seen, row, name).value = text
    await seen.pilot.pause()


async def form(seen: Stage) -> None:
    """Settings, the routing, its form."""
    await at(seen, "setting", "llm_routing_config")
    await seen.press("e")
    await opened(seen, RoutingMenu)


async def keep(seen: Stage, why: str) -> None:
    await seen.press("ctrl+s")
    await opened(seen, Ask)
    await seen.write(why)
    await seen.press("enter")
    await opened(seen, SettingsScreen)


@SIZES
async def test_what_is_wrong_is_told_at_its_field_and_not_taken(
    dsn: str, db: Connection, size: tuple[int, int]
) -> None:
    async with stage(dsn, size) as seen:
        await form(seen)
        await seen.sees("every task", "uniapi gemini-3-flash-preview → zai glm-4.7-flash")
        await seen.press("enter")
        await opened(seen, RowsForm)
        for name, bad, reason in (
            ("timeout_seconds", "soon", "timeout s: seconds, more than 0"),
            ("timeout_seconds", "301", "at most 300"),
            ("max_tokens", "0", "tokens: a whole number"),
            ("temperature", "3", "temp.: a number from 0 to 2"),
            ("provider", "acme", "provider: one of uniapi, zai"),
            ("model", " ", "model: the model's name"),
            ("params", "{", "further: not JSON"),
            ("params", '{"model": "x"}', "may not hold model"),
            ("params", '{"top_p": NaN}', "further: not JSON"),
            ("params", '{"frequency_penalty": 1}', "Z.ai does not take frequency_penalty"),
        ):
            good = entry(seen, 1, name).value
            await fill(seen, 1, **{name: bad})
            await seen.sees("✗ ", reason)
            assert entry(seen, 1, name).has_class("-wrong") and not entry(seen, 0, name).has_class("-wrong")
            await seen.press("ctrl+s")
            assert isinstance(seen.app.screen, RowsForm), bad
            assert seen.app.focused is entry(seen, 1, name), "the cursor is where the trouble is"
            await fill(seen, 1, **{name: good})
            await seen.until(lambda: not seen.app.screen.query(".-wrong"))
        await seen.press("escape")
        await opened(seen, RoutingMenu)
        await seen.press("ctrl+s")
        await seen.hears("Nothing has changed.")
    assert await setting(db, "llm_routing_config") is None
    assert "setting.set" not in await audits(db)


@SIZES
async def test_routes_parameters_and_prices_are_kept_with_a_reason(
    dsn: str, db: Connection, size: tuple[int, int]
) -> None:
    async with stage(dsn, size) as seen:
        await form(seen)
        await seen.press("n")
        await opened(seen, Ask)
        await seen.sees("✓ conversation")
        await seen.press("enter")
        await opened(seen, RowsForm)
        await fill(seen, 0, model="gpt-5-mini", timeout_seconds="8.5", max_tokens="", temperature="0")
        await seen.press("ctrl+n")
        await fill(seen, 1, provider="zai", model="glm-4.7", params='{"thinking": {"type": "enabled"}}')
        assert len(seen.app.screen.query(FormRow)) == 3
        await seen.press("ctrl+up")
        assert (entry(seen, 0, "model").value, entry(seen, 1, "model").value) == ("glm-4.7", "gpt-5-mini")
        await seen.press("down", "down", "ctrl+r")
        await seen.until(lambda: len(seen.app.screen.query(FormRow)) == 2)
        await seen.press("ctrl+s")
        await opened(seen, RoutingMenu)
        await seen.sees("conversation", "zai glm-4.7 → uniapi gpt-5-mini", "changed, not kept yet")

        await seen.press("j", "j", "enter")
        await opened(seen, RowsForm)
        await fill(seen, 0, uniapi="-1")
        await seen.sees("✗ uniapi ×: a number from 0 on")
        await fill(seen, 0, uniapi="0.8")
        await seen.press("ctrl+s")
        await opened(seen, RoutingMenu)
        await seen.press("j", "enter")
        await opened(seen, RowsForm)
        await seen.press("ctrl+n")
        await fill(seen, 0, model="glm-4.7", input_per_m="2", output_per_m="x")
        await seen.sees("provider/model: write uniapi/MODEL or zai/MODEL", "output $: US dollars")
        await fill(seen, 0, model="zai/glm-4.7", output_per_m="8")
        await seen.press("ctrl+s")
        await opened(seen, RoutingMenu)
        await seen.sees("uniapi × 0.8", "zai/glm-4.7")
        await keep(seen, "cheaper")
        await seen.sees("conversation", "1 zai glm-4.7", "uniapi charges 0.8")
    assert await setting(db, "llm_routing_config") == {
        "default": [
            {"provider": "uniapi", "model": "gemini-3-flash-preview"},
            {"provider": "zai", "model": "glm-4.7-flash"},
        ],
        "tasks": {
            "conversation": [
                {"provider": "zai", "model": "glm-4.7", "params": {"thinking": {"type": "enabled"}}},
                {"provider": "uniapi", "model": "gpt-5-mini", "timeout_seconds": 8.5, "max_tokens": None,
                 "temperature": 0.0},
            ]
        },
        "price_multiplier": {"uniapi": 0.8},
        "price_overrides": {"zai/glm-4.7": {"input_per_m": 2.0, "output_per_m": 8.0}},
    }  # fmt: skip
    (act,) = await rows(db, "SELECT note, actor FROM et_audit_log WHERE act = 'setting.set'")
    assert act["note"] == "cheaper" and act["actor"]


async def test_a_task_loses_its_routes_and_changes_are_thrown_away_only_when_asked_twice(
    dsn: str, db: Connection
) -> None:
    stored = {
        "default": [{"provider": "zai", "model": "glm-4.7"}],
        "tasks": {"conversation": [{"provider": "uniapi", "model": "gpt-5-mini"}]},
    }
    await db.execute(
        "INSERT INTO et_platform_settings (key, value) VALUES ('llm_routing_config', %s)", [Jsonb(stored)]
    )
    async with stage(dsn, (80, 24)) as seen:
        await form(seen)
        await seen.press("x")
        await seen.hears("can only be changed")
        await seen.press("j", "x")
        await seen.sees("every task", "not kept yet")
        await seen.press("escape")
        await seen.hears("Not kept yet")
        await seen.press("escape")
        await opened(seen, SettingsScreen)
        assert await setting(db, "llm_routing_config") == stored
        await seen.press("e")
        await opened(seen, RoutingMenu)
        await seen.press("j", "x")
        await keep(seen, "")
        await seen.until(lambda: "every task" in seen.text)
    assert await setting(db, "llm_routing_config") == {"default": stored["default"]}


async def test_an_agent_gets_routes_of_its_own_and_the_platforms_again(dsn: str, db: Connection) -> None:
    async with stage(dsn, (80, 24)) as seen:
        await at(seen, "agent", 1)
        await seen.press("R")
        await opened(seen, RoutingMenu)
        await seen.press("J")
        await opened(seen, RoutingEditor)
        seen.app.screen.query_one("#text").load_text('{"provider": "zai", "model": "glm-4.7"}')  # type: ignore[attr-defined]
        await seen.press("ctrl+s")
        await opened(seen, RoutingMenu)
        await keep(seen, "its own")
        await seen.sees("● v2", "its own")
        await seen.press("R")
        await opened(seen, RoutingMenu)
        await seen.sees("zai glm-4.7")
        await seen.press("u")
        await opened(seen, Ask)
        await seen.press("enter")
        await seen.sees("● v3")
    made = await rows(db, "SELECT routing, note FROM et_agent_versions ORDER BY version")
    assert [row["routing"] for row in made] == [
        None,
        {"default": [{"provider": "zai", "model": "glm-4.7"}]},
        None,
    ]
    assert made[1]["note"] == "its own"


@pytest.mark.timeout(90)
async def test_what_is_typed_is_called_before_it_is_kept(dsn: str, db: Connection, tmp_path: Path) -> None:
    with trip(dsn, tmp_path) as whole:
        whole.start()
        async with stage(dsn, settings=whole.settings) as seen:
            await form(seen)
            await seen.press("enter")
            await opened(seen, RowsForm)
            await fill(seen, 0, model="")
            await seen.press("ctrl+t")
            assert isinstance(seen.app.screen, RowsForm), "what is wrong is not called"
            await fill(seen, 0, model="gpt-5-mini")
            await seen.press("ctrl+t")
            await opened(seen, TestCalls)
            await seen.sees("✓ uniapi gpt-5-mini", "✓ zai glm-4.7-flash", "tokens", "$")
            await seen.press("escape", "ctrl+s")
            await opened(seen, RoutingMenu)
            assert await setting(db, "llm_routing_config") is None
            await keep(seen, "faster")
        message = whole.insert("which model are you?")
        whole.until_status(message, "inbound_ai_replied")
        assert whole.turn(message)["model"] == "gpt-5-mini"


async def test_hostile_names_stay_tame_in_the_form(dsn: str, db: Connection) -> None:
    value: Any = {"default": [{"provider": "zai", "model": "m\x1b]52;c;aGk=\x07[red]\u202e"}]}
    await db.execute(
        "INSERT INTO et_platform_settings (key, value) VALUES ('llm_routing_config', %s)", [Jsonb(value)]
    )
    async with stage(dsn) as seen:
        await form(seen)
        await seen.press("enter")
        await opened(seen, RowsForm)
        await seen.sees("[red]")
        assert not {"\x1b", "\x07", "\u202e"} & set(seen.text)
