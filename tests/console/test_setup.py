"""First-run set-up: an empty installation asks, tries what it is told, keeps it, and goes on with it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from textual.widgets import Input

from console.app import SwitchboardApp
from console.screens.setup import SetupMenu
from console.screens.setup_form import SetupForm
from console.session import Session
from console.widgets.lines import Lines
from engine.database.connection import Connection
from engine.demo.far_end import FarEnd
from engine.settings import load_settings
from tests.console.stage import Stage
from tests.support.far_ends import telegram
from tests.support.far_ends.telegram import TelegramService
from tests.support.kept_file import KeptFile


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeptFile:
    path = tmp_path / "config" / "switchboard.toml"
    monkeypatch.setenv("SWITCHBOARD_CONFIG", str(path))
    return KeptFile(path)


@pytest.fixture
def far() -> Iterator[tuple[FarEnd, TelegramService]]:
    with FarEnd() as llm, TelegramService() as bot:
        yield llm, bot


@asynccontextmanager
async def fresh(
    dsn: str, folder: Path, size: tuple[int, int] = (80, 24), **more: Any
) -> AsyncIterator[Stage]:
    """A console with an engine inside, on a database nobody has written to."""

    def load() -> Any:
        loaded = load_settings(data_dir=folder, http_enabled=False, poll_seconds=0.5)
        return loaded.model_copy(update={"database_url": SecretStr(dsn)})

    session = Session(load, **{"with_engine": True, **more})
    app = SwitchboardApp(session)
    async with app.run_test(size=size, notifications=True) as pilot:
        seen = Stage(app, pilot)
        try:
            await seen.until(lambda: app.status.health is not None, "health")
            yield seen
        finally:
            session.stop()


async def fill(seen: Stage, part: str, **values: str) -> SetupForm:
    """Open a part's form from the menu, and type."""
    menu = await seen.until(lambda: isinstance(seen.app.screen, SetupMenu) and seen.app.screen, "the menu")
    lines = menu.query_one(Lines)
    await seen.until(lambda: lines.lines, "its parts")
    lines.cursor = [line.target.id for line in lines.lines].index(part)
    await seen.press("enter")
    form = await seen.until(lambda: isinstance(seen.app.screen, SetupForm) and seen.app.screen, "the form")
    for name, value in values.items():
        form.query_one(f"#{name.replace('_', '-')}", Input).value = value
    assert isinstance(form, SetupForm)
    return form


async def test_a_fresh_installation_is_set_up_and_answers(
    dsn: str, db: Connection, tmp_path: Path, file: KeptFile, far: tuple[FarEnd, TelegramService]
) -> None:
    llm, bot = far
    async with fresh(dsn, tmp_path) as seen:
        await seen.sees("Welcome", "UniAPI", "Telegram")
        await fill(seen, "uniapi", uniapi_api_key="key-of-uniapi", uniapi_base_url=llm.uniapi_url)
        await seen.press("ctrl+t")
        await seen.sees("answers in")
        assert not file.there, "trying keeps nothing"
        await seen.press("ctrl+s")
        await seen.sees("✓ UniAPI", "is kept", "taken it up")
        engine = seen.app.session.engine
        assert engine is not None

        await fill(seen, "telegram", bot_token=telegram.TOKEN, api_base=bot.base_url)
        await seen.press("ctrl+s")
        await seen.sees("✓ Telegram", "is kept")
        assert seen.app.session.engine is not engine
        assert telegram.TOKEN not in seen.text

        now = int(time.time())
        chat = {"id": 7001, "type": "private"}
        message = {"message_id": 1, "date": now, "chat": chat, "from": {"id": 7001}, "text": "Are you open?"}
        bot.updates.append({"update_id": 1, "message": message})
        await seen.until(lambda: bot.arrived, "the bot answers")
        assert bot.arrived[0].to == "7001"
        await seen.press("escape")
        await seen.sees("ready")
    assert file.mode == 0o600
    acts = await (await db.execute("SELECT act FROM et_audit_log ORDER BY id")).fetchall()
    assert [row["act"] for row in acts] == ["setup.keep", "setup.keep"]


async def test_what_does_not_work_is_kept_only_when_that_is_wanted(
    dsn: str, tmp_path: Path, file: KeptFile, far: tuple[FarEnd, TelegramService]
) -> None:
    _, bot = far
    bot.healthy = False
    async with fresh(dsn, tmp_path) as seen:
        await fill(seen, "telegram", bot_token="nonsense")
        await seen.press("ctrl+s")
        await seen.sees("@BotFather gives it out")
        form = seen.app.screen
        form.query_one("#bot-token", Input).value = telegram.TOKEN
        form.query_one("#api-base", Input).value = bot.base_url
        await seen.press("ctrl+s")
        await seen.sees("refuses the bot's token", "ctrl+s now keeps it all the same")
        assert not file.there
        await seen.press("ctrl+s")
        await seen.sees("✓ Telegram")
    assert telegram.TOKEN in file.text


async def test_later_it_is_reached_from_settings_and_never_asks_again(
    dsn: str, tmp_path: Path, file: KeptFile
) -> None:
    file.put('uniapi_api_key = "k"\nuniapi_base_url = "http://127.0.0.1:9"\n')
    async with fresh(dsn, tmp_path, (140, 40)) as seen:
        await seen.pilot.pause(0.5)
        assert not isinstance(seen.app.screen, SetupMenu)
        await seen.press("7")
        await seen.sees("Platform")
        await seen.press("s")
        await seen.sees("Connect another channel", "✓ UniAPI")
        await fill(seen, "uniapi")
        await seen.sees("http://127.0.0.1:9")
        await seen.press("escape", "escape")
        await seen.until(lambda: not isinstance(seen.app.screen, SetupMenu | SetupForm), "closed")


@pytest.mark.parametrize("why", ["read-only", "attached", "somebody has written"])
async def test_nobody_else_is_asked(dsn: str, tmp_path: Path, file: KeptFile, why: str) -> None:
    if why == "somebody has written":
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO et_messages (tenant_id, channel, direction, text_content, delivery_status, raw_payload)"
                " VALUES (1, 'simulator', 'inbound', 'hello', 'received', '{\"from\": \"anna\"}')"
            )
    more = {"read-only": {"read_only": True}, "attached": {"with_engine": False}}.get(why, {})
    async with fresh(dsn, tmp_path, **more) as seen:
        await seen.pilot.pause(0.5)
        assert not isinstance(seen.app.screen, SetupMenu)
    assert not file.there
