"""The Schema area: blockers with their remedies, the plan, the run and its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from console.screens.confirm import Confirm
from console.screens.migrate import Migrate
from console.screens.schema import Plan, SchemaScreen
from engine.database.connection import Connection
from tests.console.stage import stage
from tests.support.trip import trip

DROP = "ALTER TABLE et_messages DROP COLUMN last_error"


async def one(db: Connection, sql: str) -> Any:
    row = await (await db.execute(sql.encode())).fetchone()
    assert row is not None
    return next(iter(row.values()))


async def test_a_compatible_schema_says_so_and_lists_the_runs(dsn: str) -> None:
    async with stage(dsn, (80, 24)) as seen:
        await seen.press("6")
        await seen.sees("✓ Compatible.", "are applied", "start-up", "✓ 6 check")


async def test_a_dropped_column_is_a_blocker_and_m_clears_it(dsn: str, db: Connection) -> None:
    await db.execute(DROP.encode())
    before = await one(db, "SELECT max(id) FROM et_schema_runs")
    async with stage(dsn) as seen:
        await seen.press("6")
        await seen.sees("✗ Not compatible: 1 blocker", "The column et_messages.last_error is missing.", "[m]")
        await seen.press("m")
        await seen.until(lambda: isinstance(seen.app.screen, Confirm))
        await seen.press("y")
        await seen.until(lambda: isinstance(seen.app.screen, Migrate))
        await seen.sees("✓ 2 additive migrations", "✓ The schema is what this program needs")
        await seen.press("enter")
        await seen.sees("✓ Compatible.", f"Run {before + 1}", "✓ applied")
    run = await (
        await db.execute(
            "SELECT actor, ok, steps FROM et_schema_runs WHERE id > %s ORDER BY id LIMIT 1", [before]
        )
    ).fetchone()
    assert run is not None
    assert run["ok"]
    assert run["actor"] not in ("", "start-up")
    assert [step["status"] for step in run["steps"]] == ["done"] * 6
    await db.execute("SELECT last_error FROM et_messages")


async def test_the_question_defaults_to_no(dsn: str, db: Connection) -> None:
    await db.execute(DROP.encode())
    runs = await one(db, "SELECT count(*) FROM et_schema_runs")
    async with stage(dsn) as seen:
        await seen.press("6")
        await seen.sees("✗ Not compatible")
        await seen.press("m")
        await seen.until(lambda: isinstance(seen.app.screen, Confirm))
        await seen.press("enter")
        await seen.until(lambda: isinstance(seen.app.screen, SchemaScreen))
        await seen.pilot.pause(0.3)
        assert not isinstance(seen.app.screen, Migrate)
    assert await one(db, "SELECT count(*) FROM et_schema_runs") == runs


async def test_what_a_run_cannot_clear_names_its_sql_and_stays(dsn: str, db: Connection) -> None:
    await db.execute("ALTER TABLE et_messages ALTER COLUMN in_reply_to TYPE text")
    async with stage(dsn) as seen:
        await seen.press("6")
        await seen.sees("is of type text", "TYPE bigint USING", "[enter copies]")
        await seen.press("m", "y")
        await seen.until(lambda: isinstance(seen.app.screen, Migrate))
        await seen.sees("Enter closes this.", "✗ The column et_messages.in_reply_to")
        await seen.press("enter")
        await seen.sees("✗ blocked", "✗ Not compatible")
    assert await one(db, "SELECT ok FROM et_schema_runs ORDER BY id DESC LIMIT 1") is False


async def test_m_on_the_overview_runs_it_here(dsn: str, db: Connection) -> None:
    await db.execute(DROP.encode())
    async with stage(dsn) as seen:
        await seen.press("m")
        await seen.until(lambda: isinstance(seen.app.screen, Confirm))
        await seen.press("y")
        await seen.sees("✓ The schema is what this program needs")
        await seen.press("enter")
        await seen.until(lambda: isinstance(seen.app.screen, SchemaScreen))
        await seen.sees("✓ Compatible.")


async def test_the_plan_is_the_exact_sql_and_changes_nothing(dsn: str, db: Connection) -> None:
    await db.execute(DROP.encode())
    async with stage(dsn, (80, 24)) as seen:
        await seen.press("6", "p")
        await seen.until(lambda: isinstance(seen.app.screen, Plan))
        await seen.sees(
            "statements", "2 additive migrations", "ALTER TABLE et_messages ADD COLUMN last_error TEXT;"
        )
        await seen.press("G")
        await seen.until(lambda: "pg_trigger" in seen.text or "pg_constraint" in seen.text)
        await seen.press("escape")
        await seen.sees("✗ Not compatible")


async def test_a_plan_with_nothing_to_do_says_so(dsn: str) -> None:
    async with stage(dsn) as seen:
        await seen.press("6", "p")
        await seen.sees("Nothing is to be done.", "1 tables", "6 check")


async def test_read_only_refuses_a_run_and_shows_a_plan(dsn: str, db: Connection) -> None:
    await db.execute(DROP.encode())
    runs = await one(db, "SELECT count(*) FROM et_schema_runs")
    async with stage(dsn, read_only=True) as seen:
        await seen.press("6")
        await seen.sees("✗ Not compatible")
        await seen.press("m")
        await seen.hears("This console is read-only.")
        assert isinstance(seen.app.screen, SchemaScreen)
        await seen.press("p")
        await seen.sees("2 additive migrations")
    assert await one(db, "SELECT count(*) FROM et_schema_runs") == runs


async def test_older_runs_are_read_when_they_are_looked_for(dsn: str, db: Connection) -> None:
    await db.execute(
        "INSERT INTO et_schema_runs (actor, ok, finished_at, steps) SELECT 'robot ' || n, true, now(),"
        """ '[{"name": "6 check", "status": "done", "ms": 1.5}]' FROM generate_series(1, 200) n"""
    )
    async with stage(dsn) as seen:
        await seen.press("6")
        await seen.sees("robot 200")
        await seen.press("g")
        await seen.pilot.pause(0.5)
        for _ in range(12):
            await seen.press("g")
            await seen.pilot.pause(0.2)
            if "start-up" in seen.text:
                break
        await seen.sees("robot 1", "start-up")


async def test_a_missing_table_of_runs_is_a_blocker_like_another(dsn: str, db: Connection) -> None:
    await db.execute("DROP TABLE et_schema_runs")
    async with stage(dsn) as seen:
        await seen.press("6")
        await seen.sees("The table et_schema_runs is missing.", "No run is on record.")
        await seen.press("m", "y")
        await seen.sees("Enter closes this.")
        await seen.press("enter")
        await seen.sees("✓ Compatible.", "Run 1")


@pytest.mark.timeout(90)
async def test_a_blocked_engine_goes_on_after_the_run(dsn: str, tmp_path: Path) -> None:
    with trip(dsn, tmp_path) as whole:
        whole.start()
        async with stage(dsn) as seen:
            with psycopg.connect(dsn, autocommit=True) as other:
                other.execute(DROP.encode())
            await seen.press("6")
            await seen.sees("✗ Not compatible", "✗ blocked")
            await seen.press("m", "y")
            await seen.sees("✓ The schema is what this program needs")
            await seen.press("enter")
            await seen.sees("✓ Compatible.", "● running")
        message = whole.insert("are you there?")
        whole.until_status(message, "inbound_ai_replied")
