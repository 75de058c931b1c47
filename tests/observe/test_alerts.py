"""Alerts: an incident opens once, is told once to each target, and once more when it is over; nothing is forgotten."""

from __future__ import annotations

import asyncio
import json
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.database.connection import Connection, Pool, open_pool
from engine.observe.incidents import incidents
from engine.settings import Settings, SettingsError, load_settings
from engine.supervisor.alert_targets import TELL_SECONDS, Alert, signature, tell
from engine.supervisor.alerts import BATCH, HELD_SECONDS, MOST_TRIES, AlertWatch
from tests.support.addresses import url
from tests.test_cli import Shell

SECRET = "a-secret-of-the-webhook"


class Receiver:
    """The far end of the webhook: keeps what it got, and answers as it is told to."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append((dict(self.headers), body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(told["event"], told["rule"]) for told in (json.loads(body) for _, body in self.got)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.02,))
    thread.start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
    thread.join()


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    async with open_pool(dsn, size=3) as pool:
        yield pool


def settings(receiver: Receiver | None = None, **more: Any) -> Settings:
    """Only the rule about people who are waited for, unless more is said."""
    off = {"alert_blockers": False, "alert_queue_seconds": 0, "alert_spend_share": 0, "alert_error_share": 0}
    hook = {"alert_webhook_url": receiver.url, "alert_webhook_secret": SECRET} if receiver else {}
    return load_settings(**{**off, **hook, **more})


def watch(pool: Pool, settings: Settings, over: float = 0.0) -> AlertWatch:
    return AlertWatch(pool, settings, hold_off=0.0, over=over)


async def keep_waiting(db: Connection, minutes: int = 60) -> None:
    await db.execute(
        """INSERT INTO et_threads (tenant_id, channel, address, owner, owner_since, last_inbound_at, last_message_at)
           VALUES (1, 'simulator', gen_random_uuid()::text, 'human', now() - make_interval(mins => %s),
                   now() - make_interval(mins => %s),
                   now() - make_interval(mins => %s))""",
        [minutes] * 3,
    )


async def answer(db: Connection) -> None:
    await db.execute("UPDATE et_threads SET last_message_at = now()")


async def due(db: Connection) -> None:
    await db.execute("UPDATE et_alert_deliveries SET next_attempt_at = now()")


async def test_an_incident_is_told_once_and_once_more_when_it_is_over(
    pool: Pool, db: Connection, receiver: Receiver
) -> None:
    chosen = settings(receiver)
    await keep_waiting(db)
    for _ in range(3):
        await watch(pool, chosen).watch()  # each as after a restart
        await watch(pool, chosen).deliver()
    assert receiver.events == [("opened", "takeover")]
    (incident,) = await incidents(pool)
    assert (incident.resolved_at, incident.told) == (None, ["webhook opened done"])
    headers, body = receiver.got[0]
    assert headers["X-Switchboard-Signature"] == signature(SECRET, headers["X-Switchboard-Timestamp"], body)
    assert SECRET.encode() not in body

    await answer(db)
    for _ in range(3):
        await watch(pool, chosen).watch()
        await watch(pool, chosen).deliver()
    assert receiver.events == [("opened", "takeover"), ("resolved", "takeover")]
    await keep_waiting(db, 30)
    await watch(pool, chosen).watch()
    assert [bool(one.resolved_at) for one in await incidents(pool)] == [False, True], (
        "a new one is another one"
    )


async def test_many_engines_tell_it_once(pool: Pool, db: Connection, receiver: Receiver) -> None:
    chosen = settings(receiver)
    await keep_waiting(db)
    engines = [watch(pool, chosen, over=60) for _ in range(6)]
    await asyncio.gather(*(engine.watch() for engine in engines))
    await asyncio.gather(*(engine.deliver() for engine in engines))
    assert receiver.events == [("opened", "takeover")]
    assert len(await incidents(pool)) == 1


async def test_what_passes_at_once_is_no_incident(pool: Pool, db: Connection) -> None:
    now = [0.0]
    patient = AlertWatch(pool, settings(), clock=lambda: now[0], hold_off=15)
    await keep_waiting(db)
    await patient.watch()
    now[0] = 14.0
    await patient.watch()
    assert await incidents(pool) == []
    now[0] = 15.0
    await patient.watch()
    assert len(await incidents(pool)) == 1


async def test_a_webhook_that_fails_is_tried_again_and_given_up_at_last(
    pool: Pool, db: Connection, receiver: Receiver
) -> None:
    chosen = settings(receiver)
    receiver.answers = [500, 302]
    await keep_waiting(db)
    await watch(pool, chosen).watch()
    await watch(pool, chosen).deliver()
    await watch(pool, chosen).deliver()
    assert len(receiver.got) == 1, "not again at once"
    await answer(db)
    await watch(pool, chosen).watch()
    for _ in range(3):
        await due(db)
        await watch(pool, chosen).deliver()
    assert receiver.events == [("opened", "takeover")] * 3 + [("resolved", "takeover")]
    assert len({headers["X-Switchboard-Delivery"] for headers, _ in receiver.got[:3]}) == 1
    receiver.answers = [500] * 20
    await keep_waiting(db, 30)
    await watch(pool, chosen).watch()
    for _ in range(MOST_TRIES + 3):
        await due(db)
        await watch(pool, chosen).deliver()
    assert len(receiver.got) == 4 + MOST_TRIES
    assert (await incidents(pool))[0].told == ["webhook opened failed: answered 500"]


async def test_a_command_gets_json_and_no_secret(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNIAPI_API_KEY", SECRET)
    program = tmp_path / "tell"
    program.write_text('#!/bin/sh\ncat > "$1"\nenv >> "$1"\n')
    program.chmod(stat.S_IRWXU)
    told = tmp_path / "it is; $(touch x)"
    chosen = settings(alert_command=[str(program), str(told)])
    alert = Alert(
        event="test", rule="r", subject="s", what=f"the key is {SECRET}", opened_at="2026-01-01T00:00:00Z"
    )
    assert await tell(chosen, "command", alert, delivery="1") is None
    text = told.read_text()
    assert json.loads(text.splitlines()[0].partition("}")[0] + "}")["rule"] == "r"
    assert SECRET not in text
    program.write_text("#!/bin/sh\nexit 3\n")
    assert await tell(chosen, "command", alert, delivery="1") == "ended with 3"


async def test_every_rule_finds_its_own(pool: Pool, db: Connection) -> None:
    chosen = load_settings(daily_budget_usd=1)
    await keep_waiting(db)
    await db.execute(
        """INSERT INTO et_messages (tenant_id, channel, direction, raw_payload, delivery_status, created_at)
           VALUES (1, 'simulator', 'inbound', '{"from": "c"}', 'received', now() - interval '1 hour')"""
    )
    await db.execute(
        """INSERT INTO et_turns (tenant_id, thread_id, message_id, outcome)
           SELECT 1, 1, 1, CASE WHEN n <= 3 THEN 'error' ELSE 'replied' END FROM generate_series(1, 12) n"""
    )
    await db.execute(
        """INSERT INTO et_usage_hourly (hour, tenant_id, agent_id, task, provider, model, cost_usd)
           VALUES (date_trunc('hour', now()), 1, 1, 'conversation', 'uniapi', 'm', 0.95)"""
    )
    await watch(pool, chosen).watch()
    found = {incident.rule: incident for incident in await incidents(pool)}
    assert set(found) == {"blocker", "queue_age", "takeover", "error_rate", "spend"}
    assert found["blocker"].subject.startswith("engine.none")
    assert found["error_rate"].what == "3 of the last 12 turns ended in an error."
    assert "0.95 of 1.00 USD" in found["spend"].what


@pytest.mark.parametrize(
    "bad",
    [
        {"alert_webhook_url": "http://example.com/x"},
        {"alert_webhook_url": "ftp://example.com"},
        {"alert_command": ["logger"]},
        {"alert_command": "rm -rf"},
        {"alert_error_share": 2},
        {"alert_takeover_minutes": -1},
    ],
)
def test_bad_settings_are_named(bad: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=f"SWITCHBOARD_{next(iter(bad)).upper()}"):
        load_settings(**bad)


def test_the_commands_list_and_try(tmp_path: Path, dsn: str, receiver: Receiver) -> None:
    shell = Shell(tmp_path, DATABASE_URL=url(dsn))
    listed = shell("alerts")
    assert listed.returncode == 0, listed.stderr
    assert "No incidents" in listed.stdout
    assert shell("alerts", "test").returncode == 1
    done = shell("alerts", "test", SWITCHBOARD_ALERT_WEBHOOK_URL=receiver.url)
    assert (done.returncode, done.stdout) == (0, "webhook: took it\n"), done.stderr
    assert receiver.events == [("test", "test")]
    assert json.loads(shell("alerts", "--json").stdout)["incidents"] == []


async def test_an_account_that_runs_dry_is_told_until_it_is_topped_up(
    pool: Pool, db: Connection, receiver: Receiver
) -> None:
    await db.execute(
        """INSERT INTO et_provider_balances (provider, hour, state, balance_usd, told_at)
           SELECT 'uniapi', now() - d * interval '1 day', 'told', 20 + 10 * d, now() - d * interval '1 day'
             FROM generate_series(0, 4) d"""
    )
    for days, told in ((0.0, []), (1.9, []), (3.0, [("opened", "balance")])):
        chosen = settings(receiver, alert_balance_days=days)
        await watch(pool, chosen).watch()
        await watch(pool, chosen).deliver()
        assert receiver.events == told
    (incident,) = await incidents(pool)
    assert incident.what == (
        "uniapi has 20.00 USD left, 2.0 days at the pace of the last 7 days. Top up the account."
    )
    await db.execute("UPDATE et_provider_balances SET balance_usd = 500 WHERE balance_usd = 20")
    await watch(pool, chosen).watch()
    await watch(pool, chosen).deliver()
    assert receiver.events[1:] == [("resolved", "balance")]


async def test_a_balance_of_long_ago_is_no_alert(pool: Pool, db: Connection) -> None:
    await db.execute(
        """INSERT INTO et_provider_balances (provider, hour, state, balance_usd, told_at)
           SELECT 'uniapi', now() - d * interval '1 day', 'failed', 10 * d, now() - d * interval '1 day'
             FROM generate_series(2, 4) d"""
    )
    await watch(pool, settings()).watch()
    assert await incidents(pool) == []


def test_a_batch_is_told_before_another_engine_takes_it_for_forgotten() -> None:
    assert BATCH * TELL_SECONDS < HELD_SECONDS
