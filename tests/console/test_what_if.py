"""What-if in the console: tried before it is kept, with progress, pause and cancel; judged by the database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input

from console.screens.ask import Ask
from console.screens.confirm import Confirm
from console.screens.editor import Editor
from console.screens.routing_menu import RoutingMenu
from console.screens.rows_form import RowsForm
from console.screens.settings import SettingsScreen
from console.screens.what_if import WhatIfDialog
from engine.database.connection import Connection
from engine.demo.far_end import FarEnd
from engine.model import InboundStatus
from engine.settings import Settings, load_settings
from tests.console.stage import Stage, stage
from tests.console.test_routing_form import fill
from tests.console.test_settings import at, opened, rows, type_over
from tests.support.rows import Planter, connect

MANY = 60


@pytest.fixture
def far() -> Iterator[FarEnd]:
    with FarEnd(reply=lambda _: "We open at ten.", latency_seconds=0.2) as running:
        yield running


@pytest.fixture
def settings(far: FarEnd, tmp_path: Path) -> Settings:
    return load_settings(
        data_dir=tmp_path, http_enabled=False, uniapi_api_key="key", uniapi_base_url=far.uniapi_url
    )


def answered(dsn: str, count: int = MANY) -> None:
    with connect(dsn) as connection:
        plant = Planter(connection)
        for _ in range(count):
            plant.inbound(InboundStatus.AI_REPLIED, thread_id=plant.thread())


async def begin(seen: Stage, key: str) -> WhatIfDialog:
    """From the key to the running what-if."""
    await seen.press(key)
    await seen.sees("Which messages should")
    await seen.press("enter")
    await seen.sees("How many, at most?")
    await seen.press("enter")
    await opened(seen, Confirm)
    await seen.sees("messages?", "Nothing is sent to customers")
    await seen.press("y")
    dialog: WhatIfDialog = await opened(seen, WhatIfDialog)
    return dialog


async def state(db: Connection) -> dict[str, Any]:
    (found,) = await rows(
        db,
        """SELECT w.state, w.prompt, w.routing, (SELECT count(*) FROM et_what_if_items WHERE outcome IS NOT NULL) AS n
             FROM et_what_ifs w""",
    )
    return found


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
async def test_a_prompt_is_tried_paused_gone_on_with_cancelled_and_edited_on(
    dsn: str, db: Connection, settings: Settings, far: FarEnd, size: tuple[int, int]
) -> None:
    answered(dsn)
    async with stage(dsn, size, settings=settings) as seen:
        await at(seen, "agent", 1)
        await seen.press("e")
        await opened(seen, Editor)
        await type_over(seen, "Answer like a pirate.")
        dialog = await begin(seen, "ctrl+t")
        await seen.sees("version 1 with another prompt", f"of {MANY}", "running")
        await seen.until(lambda: dialog._what_if.done > 0, "progress")
        await seen.press("space")
        await seen.until(lambda: dialog._what_if.state == "paused", "paused")
        await seen.sees("paused")
        await seen.pilot.pause(1.0)
        calls, found = far.uniapi.total, await state(db)
        assert (found["state"], found["prompt"]) == ("paused", "Answer like a pirate.")
        assert 0 < found["n"] < MANY
        await seen.pilot.pause(1.0)
        assert far.uniapi.total == calls, "nothing is called while it is paused"
        await seen.press("space")
        await seen.until(lambda: far.uniapi.total > calls, "it goes on")
        await seen.press("x")
        await seen.sees("cancelled")
        await seen.press("escape")
        editor = await opened(seen, Editor)
        assert editor.text == "Answer like a pirate."
        assert len(await rows(db, "SELECT version FROM et_agent_versions")) == 1, "nothing is kept yet"
        await seen.press("escape")
        await seen.hears("Not kept yet")
        seen.app.screen.query_one("#reason", Input).value = "fun"
        await seen.press("ctrl+s")
        await opened(seen, SettingsScreen)
        await seen.sees("● v2", "fun")
    found = await state(db)
    assert found["state"] == "cancelled" and found["n"] < MANY
    assert {call.body["messages"][0]["content"][:21] for call in far.uniapi.calls} == {
        "Answer like a pirate."
    }
    made = await rows(db, "SELECT prompt FROM et_agent_versions WHERE version = 2")
    assert made[0]["prompt"] == "Answer like a pirate."


async def test_routes_are_tried_before_they_are_kept(
    dsn: str, db: Connection, settings: Settings, far: FarEnd
) -> None:
    answered(dsn, 3)
    async with stage(dsn, (80, 24), settings=settings) as seen:
        await at(seen, "agent", 1)
        await seen.press("R")
        await opened(seen, RoutingMenu)
        await seen.press("enter")
        await opened(seen, RowsForm)
        await fill(seen, 0, model="gpt-5-mini")
        await seen.press("ctrl+s")
        await opened(seen, RoutingMenu)
        await begin(seen, "w")
        await seen.sees("with other routes", "3 of 3", "done")
        await seen.press("escape")
        await opened(seen, RoutingMenu)
        await seen.sees("uniapi gpt-5-mini", "not kept yet")
        await seen.press("ctrl+s")
        await opened(seen, Ask)
        await seen.press("enter")
        await seen.sees("● v2")
    assert {call.body["model"] for call in far.uniapi.calls} == {"gpt-5-mini"}
    (made,) = await rows(db, "SELECT routing FROM et_agent_versions WHERE version = 2")
    assert made["routing"]["default"][0] == {"provider": "uniapi", "model": "gpt-5-mini"}


async def test_what_is_tried_from_an_agent_is_its_newest_version(
    dsn: str, db: Connection, settings: Settings
) -> None:
    await db.execute("INSERT INTO et_agent_versions (agent_id, version, prompt) VALUES (1, 2, 'Be brief.')")
    async with stage(dsn, settings=settings) as seen:
        await at(seen, "agent", 1)
        await seen.sees("v2", "● v1")
        await seen.press("w")
        await seen.sees("Which messages should version 2 answer?")
