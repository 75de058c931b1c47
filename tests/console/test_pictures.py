"""Pictures of the Usage, Schema and Settings areas, from a frozen clock and fixed rows."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

import engine.observe.schema
from tests.console.desk import after
from tests.support.consoles import hold_still, make_app
from tests.support.seeder import FROZEN

SIZES = pytest.mark.parametrize("size", [(80, 24), (140, 40), (200, 60)], ids=["80x24", "140x40", "200x60"])
STEPS = (
    "1 tables",
    "2 additive migrations",
    "3 usage columns",
    "4 unified schema",
    "5 usage columns again",
    "6 check",
)
USED = (
    (0, "gemini-3-flash-preview", 31, 0),
    (2, "gemini-3-flash-preview", 55, 0),
    (5, "mystery-1", 4, 4),
    (30, "gemini-3-flash-preview", 80, 0),
)
"""Hours ago, model, turns, those without a price."""
CALLED = (*[("uniapi", None)] * 12, ("uniapi", "rate"), ("uniapi", "transient"), *[("zai", None)] * 2)
"""Calls in turns: the provider, and why it failed."""
FILES = "0123456789abcdef"


def plant(dsn: str) -> None:
    """Rows at fixed moments."""
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("SET session_replication_role = replica")
        db.execute("UPDATE et_tenants SET name = 'Harbour Dental', daily_budget_usd = 5")
        db.execute("UPDATE et_agents SET name = 'Reception', active_version = 2")
        db.execute("UPDATE et_agent_versions SET created_at = %s", [FROZEN - timedelta(days=9)])
        db.execute(
            "INSERT INTO et_agent_versions (agent_id, version, prompt, policy, note, created_by, created_at)"
            " VALUES (1, 2, 'You answer for Harbour Dental. Be brief.', %s, 'shorter answers', 'anna', %s)",
            [Jsonb({"max_reply_chars": 600}), FROZEN - timedelta(hours=2)],
        )
        db.execute("TRUNCATE et_platform_settings")
        for hours, model, turns, unpriced in USED:
            db.execute(
                "INSERT INTO et_usage_hourly (hour, tenant_id, agent_id, task, provider, model, turns, unpriced,"
                " prompt_tokens, completion_tokens, cost_usd)"
                " VALUES (date_trunc('hour', %s::timestamptz), 1, 1, 'conversation', 'uniapi', %s, %s, %s, %s, %s, %s)",
                [FROZEN - timedelta(hours=hours), model, turns, unpriced, turns * 900, turns * 60,
                 0 if unpriced else turns * 0.004],
            )  # fmt: skip
        for number, (provider, failure) in enumerate(CALLED):
            attempt = {
                "provider": provider,
                "ok": failure is None,
                "failure": failure,
                "latency_ms": 400 + 90 * number,
            }
            db.execute(
                "INSERT INTO et_turns (tenant_id, thread_id, message_id, outcome, attempts, started_at)"
                " VALUES (1, 1, %s, 'replied', %s, %s)",
                [number, Jsonb([attempt]), FROZEN],
            )
        for days, usd in ((3, 30.0), (1, 24.5), (0, 21.6)):
            told = FROZEN - timedelta(days=days, minutes=4)
            db.execute(
                "INSERT INTO et_provider_balances (provider, hour, asked_at, state, balance_usd, told_at)"
                " VALUES ('uniapi', date_trunc('hour', %s::timestamptz), %s, 'told', %s, %s)",
                [told, told, usd, told],
            )
        db.execute(
            "INSERT INTO et_provider_balances (provider, hour, asked_at, state) VALUES ('zai', %s, %s, 'untold')",
            [FROZEN, FROZEN],
        )
        db.execute("TRUNCATE et_schema_runs RESTART IDENTITY")
        for number, (ok, actor) in enumerate(((True, "start-up"), (False, "anna"), (True, "anna"))):
            begun = FROZEN - timedelta(minutes=30 - 10 * number)
            steps = [{"name": name, "status": "done", "ms": 12.5, "error": None} for name in STEPS]
            db.execute(
                "INSERT INTO et_schema_runs (started_at, finished_at, actor, fingerprint, ok, steps)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                [begun, begun + timedelta(milliseconds=420), actor, FILES, ok, Jsonb(steps)],
            )


@pytest.fixture(autouse=True)
def _still(monkeypatch: pytest.MonkeyPatch) -> None:
    hold_still(monkeypatch)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(engine.observe.schema, "_fingerprint", lambda: FILES)


@SIZES
def test_picture_of_usage(dsn: str, tmp_path: Path, size: tuple[int, int], snap_compare: Any) -> None:
    plant(dsn)
    app = make_app(dsn, tmp_path, frozen=True)
    assert snap_compare(app, terminal_size=size, run_before=after("5", until="unpriced"))


@SIZES
def test_picture_of_usage_by_model(
    dsn: str, tmp_path: Path, size: tuple[int, int], snap_compare: Any
) -> None:
    plant(dsn)
    app = make_app(dsn, tmp_path, frozen=True)
    keys = ("5", "right_square_bracket", "v", "v", "v")
    assert snap_compare(app, terminal_size=size, run_before=after(*keys, until="Models  cost"))


@SIZES
def test_picture_of_schema(dsn: str, tmp_path: Path, size: tuple[int, int], snap_compare: Any) -> None:
    plant(dsn)
    app = make_app(dsn, tmp_path, frozen=True)
    assert snap_compare(app, terminal_size=size, run_before=after("6", until="✓ 6 check"))


@SIZES
def test_picture_of_a_blocker(dsn: str, tmp_path: Path, size: tuple[int, int], snap_compare: Any) -> None:
    plant(dsn)
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("ALTER TABLE et_messages DROP COLUMN last_error")
        db.execute("ALTER TABLE et_notes ADD COLUMN mood text")
    app = make_app(dsn, tmp_path, frozen=True)
    assert snap_compare(app, terminal_size=size, run_before=after("6", until="Not compatible"))


@SIZES
def test_picture_of_settings(dsn: str, tmp_path: Path, size: tuple[int, int], snap_compare: Any) -> None:
    plant(dsn)
    app = make_app(dsn, tmp_path, frozen=True)
    keys = ("7", *["j"] * 7)
    assert snap_compare(app, terminal_size=size, run_before=after(*keys, until="first version"))


TO_THE_END = ("7", "G")


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
def test_picture_of_retention(dsn: str, tmp_path: Path, size: tuple[int, int], snap_compare: Any) -> None:
    plant(dsn)
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(
            "INSERT INTO et_turns (tenant_id, thread_id, message_id, outcome, context_prompt, finished_at)"
            " SELECT 1, 1, n, 'replied', 'words', '2020-03-01' FROM generate_series(1, 1203) n"
        )
        db.execute(
            "INSERT INTO et_retention (kind, ran_at, ran_by, gone) VALUES ('quarantine', %s, 'anna', 12)",
            [FROZEN],
        )
    app = make_app(dsn, tmp_path, frozen=True)
    keys = (*TO_THE_END, "up", "up")
    assert snap_compare(app, terminal_size=size, run_before=after(*keys, until="1,203 past it"))


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
def test_picture_of_alerts(dsn: str, tmp_path: Path, size: tuple[int, int], snap_compare: Any) -> None:
    plant(dsn)
    with psycopg.connect(dsn, autocommit=True) as db:
        for rule, what, hours, over in (
            ("takeover", "A customer has waited more than 15 min for a person.", 5, 2),
            ("spend", "Harbour Dental has spent 4.60 of 5.00 USD today.", 1, None),
        ):
            db.execute(
                "INSERT INTO et_incidents (rule, subject, what, opened_at, resolved_at) VALUES (%s, 'x', %s, %s, %s)",
                [rule, what, FROZEN - timedelta(hours=hours), over and FROZEN - timedelta(hours=over)],
            )
        db.execute(
            "INSERT INTO et_alert_deliveries (incident_id, target, event, status)"
            " SELECT id, 'webhook', 'opened', 'done' FROM et_incidents"
        )
    app = make_app(dsn, tmp_path, frozen=True)
    assert snap_compare(app, terminal_size=size, run_before=after(*TO_THE_END, until="open for 1h"))


@pytest.mark.parametrize(
    ("key", "awaits"),
    [("5", "unpriced"), ("6", "✓ 6 check"), ("7", "first version")],
    ids=["usage", "schema", "settings"],
)
def test_picture_without_colour_tells_as_much(
    dsn: str, tmp_path: Path, key: str, awaits: str, snap_compare: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(dsn)
    monkeypatch.setenv("NO_COLOR", "1")
    keys = (key, *["j"] * 7) if key == "7" else (key,)
    app = make_app(dsn, tmp_path, frozen=True)
    assert snap_compare(app, terminal_size=(140, 40), run_before=after(*keys, until=awaits))


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
def test_picture_of_the_routes_of_a_task(
    dsn: str, tmp_path: Path, size: tuple[int, int], snap_compare: Any
) -> None:
    plant(dsn)
    app = make_app(dsn, tmp_path, frozen=True)
    keys = ("7", "j", "e", "enter", "tab", "tab", "x")
    run_before = after(*keys, until="✗ timeout s")
    assert snap_compare(app, terminal_size=size, run_before=run_before)
