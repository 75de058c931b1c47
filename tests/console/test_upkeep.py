"""Upkeep in Settings, and erasure on request: what is asked first, and what the database holds afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.widgets import Input

from console.screens.ask import Ask
from console.screens.confirm import Confirm
from console.screens.inbox import InboxScreen
from console.session import Session
from engine.database.connection import Connection
from engine.settings import load_settings
from tests.console.stage import stage
from tests.console.test_settings import at, audits, opened, rows, setting

LATE = "now() - interval '400 days'"
SIZES = [(80, 24), (140, 40)]


async def plant(db: Connection) -> None:
    await db.execute(
        f"""INSERT INTO et_turns (tenant_id, thread_id, message_id, outcome, context_prompt, finished_at)
            SELECT 1, 1, n, 'replied', 'secret', {LATE} FROM generate_series(1, 1203) n""".encode()
    )
    await db.execute(
        f"INSERT INTO et_intake_quarantine (at, channel, why, body) VALUES ({LATE}, 'waha', 'x', 'y')".encode()
    )


@pytest.mark.parametrize("size", SIZES)
async def test_a_run_of_retention_asks_with_the_counts_and_is_recorded(
    dsn: str, db: Connection, size: tuple[int, int]
) -> None:
    await plant(db)
    async with stage(dsn, size) as seen:
        await at(seen, "upkeep", "retention")
        await seen.sees("prompts", "1,203 past it", "r run now")
        await seen.press("r")
        await opened(seen, Confirm)
        await seen.sees("Let go of 1,204 records?", "1,203 prompts, 1 quarantine")
        await seen.press("enter")
        await seen.pilot.pause(0.3)
        assert len(await rows(db, "SELECT FROM et_turns WHERE context_prompt IS NOT NULL")) == 1203, (
            "No is first"
        )
        await seen.press("r")
        await opened(seen, Confirm)
        await seen.press("y")
        await seen.hears("Gone: 1,203 prompts, 1 quarantine.")
        await seen.sees("Last runs", "1,203 gone")
    assert await rows(db, "SELECT FROM et_turns WHERE context_prompt IS NOT NULL") == []
    (ran,) = await rows(db, "SELECT gone, ran_by FROM et_retention WHERE kind = 'prompts'")
    assert (ran["gone"], bool(ran["ran_by"])) == (1203, True)


async def test_days_are_refused_with_the_reason_and_kept_with_the_author(dsn: str, db: Connection) -> None:
    async with stage(dsn, (80, 24)) as seen:
        await at(seen, "upkeep", "retention")
        await seen.press("tab")
        await seen.press("j")
        await seen.press("e")
        await opened(seen, Ask)
        entry = seen.app.screen.query_one(Input)
        for bad, why in (("-1", "greater than or equal"), ("soon", "not a number"), ("inf", "✗")):
            entry.value = bad
            await seen.sees("✗ ", why)
            await seen.press("enter")
            assert isinstance(seen.app.screen, Ask), bad
        entry.value = "365"
        await seen.sees("✓ 365 days")
        await seen.press("enter")
        await seen.hears("traces: 365 days")
        await seen.sees("365 days")
    assert await setting(db, "retention") == {"traces": 365}
    assert await audits(db) == ["setting.set"]


async def test_a_rule_is_changed_and_switched_and_a_test_alert_says_who_took_it(
    dsn: str, db: Connection, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    program = tmp_path / "tell"
    program.write_text(f"#!/bin/sh\ncat > {told}\n")
    program.chmod(0o700)
    settings = load_settings(
        http_enabled=False, alert_command=[str(program)], alert_webhook_url="http://127.0.0.1:9/hook"
    )
    await db.execute(
        """INSERT INTO et_incidents (rule, subject, what, opened_at, resolved_at)
           VALUES ('takeover', 'inbox', 'A customer has waited.', now() - interval '2 hours', now()),
                  ('spend', 'tenant:1', 'Shop has [red]spent\x1b[2J it.', now() - interval '3 hours', NULL)"""
    )
    async with stage(dsn, settings=settings) as seen:
        await at(seen, "upkeep", "alerts")
        await seen.sees("queue_age", "! open for 3h", "✓ over after 2h", "[red]spent", "! 1 open")
        await seen.press("tab", "e")
        await seen.hears("blocker: off")
        await seen.press("j", "e")
        await opened(seen, Ask)
        seen.app.screen.query_one(Input).value = "90"
        await seen.sees("✓ queue_seconds 90")
        await seen.press("enter")
        await seen.sees("waited 90 s for its turn")
        await seen.press("t")
        await seen.hears("Told: the console, command.")
        await seen.hears("webhook: ConnectError")
    assert await setting(db, "alerts") == {"blockers": False, "queue_seconds": 90}
    assert json.loads(told.read_text())["event"] == "test"


@pytest.mark.parametrize("size", SIZES)
async def test_a_customer_is_erased_from_the_inbox_only_after_a_yes(
    dsn: str, db: Connection, size: tuple[int, int]
) -> None:
    await db.execute(
        """INSERT INTO et_messages (tenant_id, channel, direction, text_content, raw_payload, delivery_status)
           VALUES (1, 'simulator', 'inbound', 'my secret', '{"from": "+49 151 1234"}', 'received'),
                  (1, 'simulator', 'inbound', 'another one', '{"from": "+49 151 9999"}', 'received')"""
    )
    async with stage(dsn, size) as seen:
        await seen.press("2")
        screen = seen.app.screen
        assert isinstance(screen, InboxScreen)
        thread = (await rows(db, "SELECT id FROM et_threads WHERE address LIKE '%%1234'"))[0]["id"]
        await seen.sees("1234")
        screen.go_to(thread)
        await seen.until(lambda: screen.thread is not None and screen.thread.id == thread, "it is chosen")
        await seen.press("E")
        await opened(seen, Confirm)
        await seen.sees("Erase everything of +49 151 1234?", "1 messages")
        await seen.press("enter")
        await seen.pilot.pause(0.3)
        assert "erase" not in await audits(db), "No is the default"
        await seen.press("E")
        await opened(seen, Confirm)
        await seen.press("y")
        await seen.until(lambda: any("messages" in toast for toast in seen.toasts), "it is told")
    texts = [
        row["text_content"] for row in await rows(db, "SELECT text_content FROM et_messages ORDER BY id")
    ]
    assert texts == [None, "another one"]
    assert (await audits(db)).count("erase") == 1


async def test_a_foreign_database_is_backed_up_by_its_own_means(dsn: str, db: Connection) -> None:
    async with stage(dsn, (80, 24)) as seen:
        await at(seen, "upkeep", "backup")
        await seen.sees("pg_dump --format=custom", "pg_restore")
        await seen.press("r")
        await seen.hears("use pg_dump")
    assert await audits(db) == []


async def test_a_demonstration_has_nothing_to_back_up(dsn: str, db: Connection) -> None:
    class Demo:
        faults = ()

    async with stage(dsn, (80, 24)) as seen:
        seen.app.demo = Demo()
        await at(seen, "upkeep", "backup")
        await seen.sees("thrown away at its end")
        assert "DATABASE_URL" not in seen.text
        await seen.press("r")
        await seen.hears("thrown away at its end")
    assert await audits(db) == []


async def test_the_embedded_database_is_backed_up_and_proven(tmp_path: Path) -> None:
    from console.app import SwitchboardApp
    from engine.supervisor import Database, migrate
    from tests.console.stage import Stage

    settings = load_settings(http_enabled=False, data_dir=tmp_path / "data")
    with Database.open(settings) as database:
        migrate(database.dsn)
        app = SwitchboardApp(Session(lambda: settings, with_engine=False))
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            seen = Stage(app, pilot)
            await seen.until(lambda: app.status.health is not None, "health")
            await at(seen, "upkeep", "backup")
            await seen.sees("No backup is on record", "switchboard restore FILE")
            await seen.press("r")
            await opened(seen, Confirm)
            await seen.press("y")
            await seen.hears("verified.")
            await seen.sees("by a restore: identical", "switchboard-", "s ago")
    (file,) = (tmp_path / "data" / "backups").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    assert file.parent.stat().st_mode & 0o077 == 0


async def test_a_guest_may_look_only(dsn: str, db: Connection) -> None:
    await plant(db)
    async with stage(dsn, (80, 24), read_only=True) as seen:
        await at(seen, "upkeep", "retention")
        await seen.sees("1,203 past it")
        await seen.press("r")
        await seen.hears("read-only")
    assert len(await rows(db, "SELECT FROM et_turns WHERE context_prompt IS NOT NULL")) == 1203
