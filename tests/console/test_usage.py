"""The Usage area: its sums are the database's, what has no price is called unpriced, and nothing reads history."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from rich.cells import cell_len

from console.screens import usage_plots as plots
from console.screens.usage import UsageScreen
from console.widgets.lines import Line
from engine.database.connection import Connection, fetch, open_pool, statement
from engine.observe.spending import Spending, Used, spending, usage_csv
from tests.console.stage import stage

SUMS = """SELECT coalesce(sum(turns), 0)::int AS turns, coalesce(sum(unpriced), 0)::int AS unpriced,
                 coalesce(sum(prompt_tokens), 0)::int AS prompt, coalesce(sum(completion_tokens), 0)::int AS completion,
                 coalesce(sum(cost_usd), 0)::float AS cost
            FROM et_usage_hourly WHERE hour >= %s"""


def midnight() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


async def use(
    db: Connection, at: datetime, model: str = "gemini-3-flash-preview", turns: int = 10, **more: Any
) -> None:
    row = {"tenant_id": 1, "agent_id": 1, "task": "conversation", "provider": "uniapi", "unpriced": 0,
           "prompt_tokens": 1000 * turns, "completion_tokens": 50 * turns, "cost_usd": 0.01 * turns}  # fmt: skip
    row |= {"hour": at, "model": model, "turns": turns} | more
    marks = ", ".join(["%s"] * len(row))
    await db.execute(
        f"INSERT INTO et_usage_hourly ({', '.join(row)}) VALUES ({marks})".encode(), [*row.values()]
    )


async def call(db: Connection, number: int, *attempts: dict[str, Any]) -> None:
    await db.execute(
        "INSERT INTO et_turns (tenant_id, thread_id, message_id, outcome, attempts, started_at)"
        " VALUES (1, 1, %s, 'replied', %s, now())",
        [number, Jsonb([{"provider": "uniapi", "ok": True, "latency_ms": 100} | a for a in attempts])],
    )


async def looked(dsn: str, days: int = 1, earlier: Spending | None = None) -> Spending:
    pool = open_pool(dsn, size=1)
    await pool.open(wait=True)
    try:
        return await spending(pool, datetime.now(UTC), days, None, earlier)
    finally:
        await pool.close()


async def test_every_way_adds_up_to_the_same_sums(dsn: str, db: Connection) -> None:
    tonight = midnight()
    for ago, model in ((0, "a"), (0, "b"), (1, "a"), (6, "b"), (7, "c"), (29, "a"), (30, "z")):
        await use(db, tonight - timedelta(days=ago), model, turns=7 + ago)
    await use(db, tonight, "a", agent_id=2, tenant_id=2, task="summary", cost_usd=0, unpriced=10)
    for days in (1, 7, 30):
        found = await looked(dsn, days)
        cursor = await db.execute(SUMS.encode(), [tonight - timedelta(days=days - 1)])
        true = await cursor.fetchone()
        assert true is not None
        for way, used in found.ways.items():
            sums = (sum(u.turns for u in used), sum(u.unpriced for u in used), sum(u.prompt_tokens for u in used),
                    sum(u.completion_tokens for u in used))  # fmt: skip
            assert sums == (true["turns"], true["unpriced"], true["prompt"], true["completion"]), (days, way)
            assert sum(u.cost_usd for u in used) == pytest.approx(true["cost"]), (days, way)
        assert set(found.ways) == {"model", "provider", "agent", "tenant", "task"}
    by_day = {day.name: day.turns for day in found.days if day.turns}
    assert len(by_day) == 5
    assert f"{tonight - timedelta(days=30):%Y-%m-%d}" not in by_day


async def test_days_that_are_over_are_not_added_up_again(dsn: str, db: Connection) -> None:
    await use(db, midnight() - timedelta(days=3), turns=5)
    first = await looked(dsn)
    await use(db, midnight() - timedelta(days=2), turns=9)
    await use(db, midnight(), turns=4)
    again = await looked(dsn, earlier=first)
    assert [day.turns for day in again.days[-4:]] == [5, 0, 0, 4]
    assert [day.turns for day in (await looked(dsn)).days[-4:]] == [5, 9, 0, 4]


async def test_the_screen_shows_the_period_that_is_chosen(dsn: str, db: Connection) -> None:
    await use(db, midnight(), turns=40)
    await use(db, midnight() - timedelta(days=5), "glm-4.7", turns=60, provider="zai")
    await use(db, midnight() - timedelta(days=20), "gpt-5", turns=300)
    async with stage(dsn) as seen:
        await seen.press("5")
        await seen.sees("Today  $0.4000", "40 turns", "40k + 2.0k tokens", "uniapi gemini-3-flash-preview")
        assert "zai glm-4.7" not in seen.text
        await seen.press("right_square_bracket")
        await seen.sees("7 days  $1.00", "100 turns", "zai glm-4.7", "60%")
        await seen.press("right_square_bracket")
        await seen.sees("30 days  $4.00", "uniapi gpt-5")
        await seen.press("m")
        await seen.sees("Days  tokens · highest 315k")


async def test_what_has_no_price_is_called_unpriced_and_never_0(dsn: str, db: Connection) -> None:
    await use(db, midnight(), "mystery-1", turns=3, unpriced=3, cost_usd=0)
    await use(db, midnight(), "half-known", turns=8, unpriced=2, cost_usd=0.5)
    async with stage(dsn, (80, 24)) as seen:
        await seen.press("5")
        await seen.sees("5 unpriced", "uniapi mystery-1")
        (line,) = [line for line in seen.text.splitlines() if "uniapi mystery-1" in line]
        assert "unpriced" in line
        assert "$0" not in line
        (line,) = [line for line in seen.text.splitlines() if "uniapi half-known" in line]
        assert "$0.5000" in line


async def test_budgets_tell_cap_spend_reserve_and_where_the_day_ends(dsn: str, db: Connection) -> None:
    await db.execute("UPDATE et_tenants SET name = 'Harbour', daily_budget_usd = 1 WHERE id = 1")
    await use(db, datetime.now(UTC).replace(minute=0, second=0, microsecond=0), turns=90)
    await db.execute(
        "INSERT INTO et_threads (tenant_id, channel, holder, lease_until, reserved_usd)"
        " VALUES (1, 'simulator', 'e', now() + interval '1 hour', 0.25)"
    )
    (outlook,) = (await looked(dsn)).outlooks
    now = datetime.now(UTC)
    left = 24 - (now - midnight()).total_seconds() / 3600
    assert outlook.reserved_usd == 0.25
    assert outlook.budget.spent_usd == pytest.approx(0.9)
    assert outlook.forecast_usd == pytest.approx(0.9 + 0.9 * left, abs=0.05)
    async with stage(dsn) as seen:
        await seen.press("5")
        await seen.sees("Harbour", "$0.9000 of $1.00", "$0.2500 set aside", "heading for")
        await db.execute("UPDATE et_usage_hourly SET cost_usd = 1.2")
        await seen.sees("$1.20 of $1.00", "✗ spent")


async def test_the_platform_s_cap_counts_in_the_order_of_budgets(dsn: str, db: Connection) -> None:
    """A tenant without a cap of its own that has spent the platform's comes before one that has not spent its own."""
    await db.execute("UPDATE et_tenants SET daily_budget_usd = 1")
    await db.execute("INSERT INTO et_tenants (name) VALUES ('Capless')")
    await db.execute("INSERT INTO et_platform_settings (key, value) VALUES ('daily_budget_usd', '0.9')")
    for tenant, cost in ((1, 0.5), (2, 0.8)):
        await db.execute(
            """INSERT INTO et_usage_hourly (hour, tenant_id, agent_id, task, provider, model, turns, cost_usd)
               VALUES (date_trunc('hour', now()), %s, 1, 'conversation', 'uniapi', 'm', 1, %s)""",
            [tenant, cost],
        )
    outlooks = (await looked(dsn)).outlooks
    assert [outlook.budget.tenant_id for outlook in outlooks] == [2, 1]
    await db.execute("UPDATE et_usage_hourly SET cost_usd = 0 WHERE tenant_id = 2")
    assert [outlook.budget.tenant_id for outlook in (await looked(dsn)).outlooks] == [1, 2]


async def test_the_month_is_forecast_from_the_last_week(dsn: str, db: Connection) -> None:
    now = datetime.now(UTC)
    await use(db, now.replace(minute=0, second=0, microsecond=0) - timedelta(days=2), cost_usd=6)
    (outlook,) = (await looked(dsn)).outlooks
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    left = (month + timedelta(days=32)).replace(day=1) - now
    spent = 6 if now - timedelta(days=2) >= month else 0
    assert outlook.month_usd == pytest.approx(spent + 3 * left.total_seconds() / 86_400, rel=0.05)


async def test_providers_tell_latency_and_why_calls_failed(dsn: str, db: Connection) -> None:
    for number in range(100):
        await call(db, number, {"latency_ms": 10 * (number + 1)})
    await call(db, 200, {"ok": False, "failure": "rate"}, {"provider": "zai", "latency_ms": 70})
    await call(db, 201, {"ok": False, "failure": "rate"}, {"ok": False, "failure": "transient"})
    await call(db, 202, {"ok": False, "failure": "money", "skipped": True})
    found = {calls.provider: calls for calls in (await looked(dsn)).calls}
    assert (found["uniapi"].calls, found["uniapi"].answered, found["uniapi"].skipped) == (103, 100, 1)
    assert found["uniapi"].failures == {"rate": 2, "transient": 1}
    assert found["uniapi"].p50_ms == pytest.approx(505)
    assert found["uniapi"].p95_ms == pytest.approx(950.5)
    async with stage(dsn) as seen:
        await seen.press("5")
        await seen.sees("p50 505 ms", "p95 950 ms", "3 failed: rate 2 · transient 1", "1 skipped", "zai")


async def test_records_of_any_shape_do_not_break_it(dsn: str, db: Connection) -> None:
    hostile = "\x1b[31m[b]evil[/b]"
    shapes = ([1, "x", None], {"provider": "x"}, [{"provider": hostile, "latency_ms": "fast", "ok": "yes"}],
              [{"provider": "uniapi", "ok": False, "failure": hostile}])  # fmt: skip
    for number, shape in enumerate(shapes):
        await db.execute(
            "INSERT INTO et_turns (tenant_id, thread_id, message_id, outcome, attempts)"
            " VALUES (1, 1, %s, 'replied', %s)",
            [number, Jsonb(shape)],
        )
    await use(db, midnight(), model=hostile)
    async with stage(dsn) as seen:
        await seen.press("5")
        await seen.sees("[b]evil[/b]", "1 failed")
        assert "\x1b" not in seen.text


async def test_the_export_is_the_period_in_full_and_holds_no_formula(
    dsn: str, db: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await db.execute("UPDATE et_tenants SET name = '=1+1' WHERE id = 1")
    await use(db, midnight(), turns=3)
    await use(db, midnight(), "mystery", turns=2, unpriced=2, cost_usd=0)
    await use(db, midnight() - timedelta(days=1), "yesterday", turns=99)
    pool = open_pool(dsn, size=1)
    await pool.open(wait=True)
    text = await usage_csv(pool, midnight(), datetime.now(UTC) + timedelta(hours=1))
    await pool.close()
    read = list(csv.DictReader(StringIO(text)))
    assert [(row["model"], row["turns"], row["cost_usd"]) for row in read] == [
        ("gemini-3-flash-preview", "3", "0.030000"),
        ("mystery", "2", ""),
    ]
    assert read[0]["tenant"] == "'=1+1"
    folder = tmp_path / "none yet"
    monkeypatch.setenv("XDG_DOWNLOAD_DIR", str(folder))
    async with stage(dsn) as seen:
        await seen.press("5")
        await seen.sees("Today  $0.0300")
        await seen.press("e")
        await seen.hears(f"Written to {folder}")
        (written,) = folder.iterdir()
        await seen.press("right_square_bracket", "e")  # before the other period is on the screen
        await seen.until(lambda: len([*folder.iterdir()]) == 2, "the other file")
        week = min(folder.iterdir())
        assert f"{midnight() - timedelta(days=6):%Y-%m-%d}" in week.name
        await seen.until(lambda: "yesterday" in week.read_text(), "what was used yesterday")
        assert written.read_bytes().decode() == text
        assert written.stat().st_mode & 0o777 == 0o600
        monkeypatch.setenv("XDG_DOWNLOAD_DIR", str(written / "no folder"))
        await seen.press("e")
        await seen.hears("could not be written: Not a directory. Set XDG_DOWNLOAD_DIR")


async def balance(db: Connection, provider: str, state: str, usd: float | None, **more: Any) -> None:
    row = {
        "provider": provider,
        "state": state,
        "balance_usd": usd,
        "hour": datetime.now(UTC).replace(minute=0),
    }
    row |= {"told_at": None if state == "untold" else datetime.now(UTC)} | more
    marks = ", ".join(["%s"] * len(row))
    await db.execute(
        f"INSERT INTO et_provider_balances ({', '.join(row)}) VALUES ({marks})".encode(), [*row.values()]
    )


async def test_each_breakdown_has_its_view_and_every_view_its_plot(dsn: str, db: Connection) -> None:
    await db.execute("UPDATE et_tenants SET name = 'Harbour'")
    await use(db, midnight(), turns=40)
    await use(db, midnight() - timedelta(days=2), "glm-4.7", turns=60, provider="zai", task="summary")
    async with stage(dsn) as seen:
        await seen.press("5", "right_square_bracket")
        await seen.sees("7 days  $1.00", "Hours  cost", "Days  cost · highest $0.6000")
        for words in (
            (f"{midnight() - timedelta(days=2):%Y-%m-%d}", "Days  cost"),
            (f"{midnight():%Y-%m-%d} 00:00", "Hours  cost"),
            ("zai glm-4.7", "Models  cost"),
            ("uniapi  ", "Providers  cost"),
            ("#1", "Agents  cost"),
            ("Harbour #1", "Tenants  cost"),
            ("summary", "Tasks  cost"),
        ):
            await seen.press("v")
            await seen.sees(*words)
        assert "█" in seen.text
        await seen.press("m")
        await seen.sees("Tasks  tokens", "63k")
        await seen.press("v")
        await seen.sees("Models", "Tenants", "Hours  tokens")
        await seen.press("V")
        await seen.sees("Tasks  tokens")


async def test_low_bandwidth_draws_no_plot_and_loads_no_library(
    dsn: str, db: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("loaded")

    await use(db, midnight(), turns=40)
    for name in ("load", "over_time", "by_name"):
        monkeypatch.setattr(f"console.screens.usage_plots.{name}", never)
    async with stage(dsn, low_bandwidth=True) as seen:
        await seen.press("5")
        await seen.sees("Today  $0.4000", "Budgets")
        await seen.press("v")
        await seen.sees("Days   ")
        assert "highest" not in seen.text


def test_the_plots_library_is_not_loaded_at_start_up() -> None:
    code = "import sys, console.app, console.screens.usage; print('plotext' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


async def test_what_has_no_price_is_named_with_its_remedy(dsn: str, db: Connection) -> None:
    await use(db, midnight(), "mystery-1", turns=3, unpriced=3, cost_usd=0)
    await use(db, midnight(), "\x1b[31m[b]odd[/b]", turns=9, unpriced=8, cost_usd=1)
    async with stage(dsn, (140, 50)) as seen:
        await seen.press("5")
        await seen.sees("Unpriced  11 turns", "uniapi/mystery-1 · 3 turns", "[b]odd[/b] · 8 turns",
                        "Settings (7), llm_routing_config: add to price_overrides", '"input_per_m"')  # fmt: skip
        assert "\x1b" not in seen.text
        await db.execute("UPDATE et_usage_hourly SET unpriced = 0")
        await seen.until(lambda: "Unpriced" not in seen.text)


async def test_balances_are_told_with_age_pace_and_days_left(dsn: str, db: Connection) -> None:
    now = datetime.now(UTC)
    await balance(db, "uniapi", "told", 30, hour=now - timedelta(days=2), told_at=now - timedelta(days=2))
    await balance(db, "uniapi", "told", 10)
    await balance(db, "zai", "untold", None)
    async with stage(dsn) as seen:
        await seen.press("5")
        await seen.sees("✗ $10.00 left, told just now · $10.00 a day → 24 hours",
                        "? balance unknown: the provider does not tell it")  # fmt: skip
        await db.execute(
            "UPDATE et_provider_balances SET balance_usd = 80 - balance_usd WHERE provider = 'uniapi'"
        )
        await seen.sees("✓ $70.00 left")
        await db.execute(
            "UPDATE et_provider_balances SET state = 'failed', problem = E'auth: \x1b[31mno',"
            " told_at = told_at - interval '2 hours'"
        )
        await seen.sees("! $70.00 left, told 2h 00m ago, asking failed since", "asking failed: auth: ")
        assert "\x1b" not in seen.text
        await db.execute("UPDATE et_provider_balances SET state = 'unlimited', balance_usd = NULL")
        await seen.sees("✓ no limit on the account")


async def test_hostile_names_do_no_harm_to_a_plot(dsn: str, db: Connection) -> None:
    for number, name in enumerate(
        ("\x1b[2J\x1b[31mred", "[b]x[/b]\n\tnext", "日本語🧑‍🍳" * 9, "\u202ereversed")
    ):
        await use(db, midnight(), name, turns=10 + number)
    async with stage(dsn, (80, 24)) as seen:
        await seen.press("5", "v", "v", "v")
        await seen.sees("Models  cost", "[b]x[/b]")
        assert not {"\x1b", "\u202e"} & set(seen.text)
        bars = [line for line in seen.text.splitlines() if "█" in line]
        assert len(bars) == 4
        starts = {cell_len(line[: line.index("█")]) for line in bars}
        assert len(starts) == 1, "the bars begin in one column"


def plain(lines: list[Line]) -> list[str]:
    return [line.content.plain for line in lines]


def test_a_plot_shows_anything_above_nothing_and_never_more_than_fits() -> None:
    used = [Used(str(n), turns=1, cost_usd=cost) for n, cost in enumerate((0, 0.001, 5, 10))]
    head, *rows = plain(plots.over_time("Hours", used, ["a", "b", "c", "d"], "cost", 60, 8))
    assert head == "Hours  cost · highest $10.00 · now $10.00"
    assert len(rows) == 8
    assert max(map(len, rows)) <= 60
    bottom = rows[5].partition("┤")[2]
    assert len(re.findall("[\u2580-\u259f]+", bottom)) == 3, "three columns, and the smallest is there"
    assert rows[0].startswith(" $10.00┤")
    assert rows[-1].split() == ["a", "b", "c", "d"]
    many = [Used(str(n), cost_usd=n) for n in range(720)]
    assert "719.00" in plain(plots.over_time("Hours", many, [u.name for u in many], "cost", 40, 5))[1]
    assert plain(plots.over_time("Hours", used[:1], ["a"], "cost", 40, 5))[1] == "nothing used in this time"
    bars = plain(plots.by_name("Models", used, "cost", 60))[1:]
    assert [line.count("█") for line in bars][0::3] == [max(line.count("█") for line in bars), 0]
    assert [line.split()[0] for line in bars] == ["3", "2", "1", "0"]


async def test_nothing_used_yet_is_said(dsn: str) -> None:
    async with stage(dsn, (80, 24), read_only=True) as seen:
        await seen.press("5")
        await seen.sees("Today  $0.00", "nothing used")
        assert isinstance(seen.app.screen, UsageScreen)


async def test_no_read_grows_with_history(dsn: str, db: Connection) -> None:
    await db.execute("SET session_replication_role = replica")
    await db.execute(
        "INSERT INTO et_threads (tenant_id, channel) SELECT 1, 'simulator' FROM generate_series(1, 20000)"
    )
    await db.execute(
        "INSERT INTO et_turns (tenant_id, thread_id, message_id, outcome, attempts) SELECT 1, n % 100, n, 'replied',"
        """ '[{"provider": "uniapi", "ok": true, "latency_ms": 5}]' FROM generate_series(1, 40000) n"""
    )
    await db.execute(
        "INSERT INTO et_usage_hourly (hour, tenant_id, agent_id, task, provider, model)"
        " SELECT date_trunc('hour', now()) - h * interval '1 hour', 1, 1, 'c', 'uniapi', 'm'"
        " FROM generate_series(0, 40000) h"
    )
    tonight = midnight()
    reads: dict[str, list[Any]] = {
        "usage_by": [tonight, tonight + timedelta(days=1)],
        "usage_hours": [tonight],
        "usage_daily": [tonight - timedelta(days=29)],
        "usage_export": [tonight, tonight + timedelta(days=1)],
        "spending_pace": [],
        "provider_calls": [300],
        "provider_balances": [tonight],
        "usage_report": [tonight, tonight + timedelta(days=1), "hour"],
    }
    history = {"et_turns"}
    for moment in ("not analysed", "analysed"):
        for name, params in reads.items():
            plan = "\n".join([row["QUERY PLAN"] for row in await explained(db, name, params)])
            assert not set(re.findall(r"Seq Scan on (et_\w+)", plan)) & history, (moment, name, plan)
        await db.execute("ANALYZE")
        history |= {"et_threads", "et_usage_hourly"}
    (calls,) = await fetch(db, "provider_calls", 300)
    assert calls["calls"] == 300


async def explained(db: Connection, name: str, params: list[Any]) -> list[dict[str, Any]]:
    sql = statement(name).decode()
    for number, value in enumerate(params, 1):
        shown = (
            f"'{value.isoformat()}'::timestamptz"
            if isinstance(value, datetime)
            else f"'{value}'"
            if isinstance(value, str)
            else str(value)
        )
        sql = sql.replace(f"${number}", shown)
    return await (await db.execute(f"EXPLAIN {sql}".encode())).fetchall()


async def test_a_plot_calls_what_has_no_price_unpriced(dsn: str, db: Connection) -> None:
    await use(db, midnight(), "mystery-1", turns=3, unpriced=3, cost_usd=0)
    await use(db, midnight(), turns=40)
    async with stage(dsn, (80, 24)) as seen:
        await seen.press("5", *"vvv")
        await seen.sees("Models  cost", "uniapi mystery-1")
        assert all("unpriced" in line for line in seen.text.splitlines() if "uniapi mystery-1" in line)


async def test_the_page_goes_by_the_keys_of_lists_and_providers_come_first_where_asked(
    dsn: str, db: Connection
) -> None:
    await use(db, midnight(), turns=40)
    await call(db, 1, {"latency_ms": 640})
    async with stage(dsn, (80, 24)) as seen:
        await seen.press("5")
        await seen.sees("Hours  cost")
        await seen.press("G")
        await seen.sees("p50 640 ms")
        assert "Hours  cost" not in seen.text
        await seen.press("g", "j", "k")
        await seen.sees("Hours  cost")
        await seen.press("j")
        await seen.until(lambda: "Hours  cost" not in seen.text)
        await seen.press(*"vvvv")
        await seen.sees("v provider", "p50 640 ms")
