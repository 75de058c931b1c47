"""Whole trips on which something goes wrong: rates, odd bodies, sessions that end, receipts that do not come."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from engine import channel_watch
from engine.channels.base import Inbound
from engine.outbound import holds
from engine.supervisor import Engine
from engine.supervisor import engine as supervisor
from tests.channels.cases import BY_NAME, recorded
from tests.channels.world import World, account, body, settle, world
from tests.support.far_ends import evolution, whatsapp_cloud

RECORDED = recorded()
ODD = [
    b"",
    b"null",
    b"[]",
    b"{",
    b"\xff\xfe\x00",
    b"[" * 50_000,
    b'{"a": 1e999}',
    b'{"entry": [{"changes": 3}]}',
]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "PROBE_SECONDS", 0.3)
    monkeypatch.setattr(channel_watch, "AGAIN_SECONDS", 0.2)


@pytest.mark.parametrize("code", [131056, 130429, 80007, 4])
def test_whatsapp_asks_for_less_and_gets_it(dsn: str, tmp_path: Path, code: int) -> None:
    with world("whatsapp_cloud", dsn, tmp_path) as here:
        here.far.error = (400, code)
        here.deliver(here.message("Are you open?"))
        # Between its tries it is queued, and under way: only a scheduled one tells how long it waits.
        row = here.until_send(error_class="rate", status="retry_scheduled")
        wait = (row["next_attempt_at"] - row["updated_at"]).total_seconds()
        assert (wait >= 6) is (code == 131056)


@pytest.mark.parametrize("kind", ["telegram by webhook", "waha", "evolution"])
def test_a_rate_never_fails_a_message(dsn: str, tmp_path: Path, kind: str) -> None:
    settings = {"send_max_attempts": 2, "retry_base_seconds": 0.01}
    with world(kind, dsn, tmp_path, settings) as here:
        here.far.retry_after = 0
        here.far.next("rate", "rate")
        here.converse()
        assert len(here.far.arrived) == 1


@pytest.mark.parametrize("kind", ["telegram by webhook", "whatsapp_cloud", "waha", "evolution"])
def test_no_body_is_a_server_error(dsn: str, tmp_path: Path, kind: str) -> None:
    with world(kind, dsn, tmp_path) as here:
        for known in (one for one in RECORDED if one.channel == here.channel):
            here.trip.connection.execute("TRUNCATE et_intake_quarantine")
            assert here.post(known.raw) == 200, known.name
            kept = here.trip.query("SELECT why, body FROM et_intake_quarantine")
            assert len(kept) == known.expect.get("quarantined", 0), known.name
        here.trip.connection.execute("TRUNCATE et_intake_quarantine")
        for raw in ODD:
            assert here.post(raw) == 200, raw[:20]
        kept = here.trip.query("SELECT channel, account, why, body FROM et_intake_quarantine")
        assert len(kept) >= len(ODD) - 1
        assert {(row["channel"], row["account"]) for row in kept} == {(here.channel, "default")}
        assert evolution.API_KEY not in str(kept)
        assert all(row["why"] for row in kept)


def test_a_value_the_database_refuses_is_quarantined(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world("telegram", dsn, tmp_path) as here:
        real = Inbound.__init__

        def spoilt(self: Inbound, **fields: Any) -> None:
            text = fields["text"]
            real(self, **fields | {"text": "a\x00b" if text == "poison" else text})

        monkeypatch.setattr(Inbound, "__init__", spoilt)
        here.far.updates += [here.message("poison", 1), here.message("Are you open?", 2)]
        stored = here.trip.until(here.inbound)
        assert [row["text_content"] for row in stored] == ["Are you open?"]
        assert len(here.trip.query("SELECT FROM et_intake_quarantine")) == 1
        here.trip.until(lambda: here.far.updates == [])


@pytest.mark.parametrize(
    ("kind", "state", "event", "field"),
    [("waha", "SCAN_QR_CODE", "session", "status"), ("evolution", "close", "connection", "state")],
)
def test_an_announced_change_of_session_is_looked_into_at_once(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, state: str, event: str, field: str
) -> None:
    monkeypatch.setattr(supervisor, "PROBE_SECONDS", 3600.0)
    with world(kind, dsn, tmp_path) as here:
        query = "SELECT state, detail FROM et_channel_accounts WHERE channel = %s"
        here.trip.until(lambda: (r := here.trip.query(query, kind)) and r[0]["state"] == "up")
        good, here.far.state = here.far.state, state
        told = body(kind, event)
        told["payload" if kind == "waha" else "data"][field] = state
        here.deliver(told)
        here.trip.until(lambda: here.blockers("channel.session"))
        here.trip.until(lambda: here.trip.one(query, kind)["state"] == "down")
        assert state in here.trip.one(query, kind)["detail"]
        here.far.state = good
        here.deliver(told)
        here.trip.until(lambda: not here.blockers("channel.session"))


def test_an_account_that_is_well_again_sends_what_waited(dsn: str, tmp_path: Path) -> None:
    with world("waha", dsn, tmp_path) as here:
        here.far.state = "FAILED"
        here.deliver(here.message("Are you open?"))
        here.until_send(error_class="channel_down")
        assert here.blockers("channel.session")[0].remedy
        here.far.state = "WORKING"
        here.until_send(status="accepted")


@pytest.mark.parametrize(("code", "name"), [(131042, "channel.payment"), (131031, "channel.banned")])
def test_an_account_stopped_by_receipt_is_a_blocker_until_a_message_gets_through(
    dsn: str, tmp_path: Path, code: int, name: str
) -> None:
    with world("whatsapp_cloud", dsn, tmp_path) as here:
        engine = here.trip.engine
        assert engine is not None
        here.trip.until(lambda: engine.snapshot().channels, "the health check knows nothing of it")
        sent = here.converse()

        def stop(at: int) -> dict[str, Any]:
            told = here.receipt(sent["provider_message_id"], "failed", at)
            status = told["entry"][0]["changes"][0]["value"]["statuses"][0]
            status["errors"] = [{"code": code, "title": "Stopped", "message": "Stopped"}]
            return dict(told)

        here.deliver(stop(int(time.time()) - 3 * 86_400))
        assert here.blockers(name) == [], "a redelivery of old news"
        here.deliver(stop(int(time.time())))
        (blocker,) = here.blockers(name)
        assert blocker.where == "whatsapp_cloud/default"
        assert "Outbound" in blocker.remedy
        assert here.send()["status"] == "failed"
        settle(0.8)
        assert here.blockers(name), "no health check ends what it cannot see"
        here.deliver(here.message("And tomorrow?", 2))
        waiting = here.until_send(status="queued")
        settle()
        assert len(here.far.arrived) == 1, "it waits"
        here.deliver(here.receipt("wamid.ELSE", "sent", int(time.time())))
        assert here.blockers(name) == []
        here.until_send(id=waiting["id"], status="accepted")


def test_a_service_that_is_down_for_all_uses_up_no_tries(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "FIRST_SECONDS", 0.1)
    monkeypatch.setattr(holds, "LONGEST_UNREACHED_SECONDS", 0.3)
    settings = {"send_max_attempts": 2, "retry_base_seconds": 0.01, "poll_seconds": 0.1}
    with world("whatsapp_cloud", dsn, tmp_path, settings) as here:
        here.far.error = (503, 131016)
        here.deliver(here.message("Are you open?"))
        here.trip.until(lambda: len([r for r in here.far.requests if r.method == "POST"]) >= 5)
        assert here.send()["status"] != "failed"
        here.far.error = None
        here.until_send(status="accepted")
        assert len(here.far.arrived) == 1


@pytest.mark.parametrize("kind", ["whatsapp_cloud", "telegram by webhook"])
def test_sends_that_nothing_confirms_are_warned_of(dsn: str, tmp_path: Path, kind: str) -> None:
    with world(kind, dsn, tmp_path, {"receipt_seconds": 0.5}) as here:
        sent = here.converse()
        engine = here.trip.engine
        assert engine is not None
        if kind != "whatsapp_cloud":
            settle(1.2)
            assert engine.snapshot().warnings == []
            return
        (warning,) = here.trip.until(lambda: engine.snapshot().warnings)
        assert (warning.code, warning.where) == ("channel.unconfirmed", "whatsapp_cloud/default")
        assert warning.what.startswith("1 message(s)")
        assert warning in system_health(here, engine)
        assert engine.snapshot().blockers == []
        here.deliver(here.receipt(sent["provider_message_id"], "delivered", 1_772_366_400))
        here.trip.until(lambda: engine.snapshot().warnings == [])


def system_health(here: World, engine: Engine) -> list[Any]:
    """The warnings as anybody sees them who asks the database."""
    import asyncio

    from engine.observe.health import health_at

    here.trip.until(lambda: asyncio.run(health_at(here.trip.dsn)).warnings)
    return asyncio.run(health_at(here.trip.dsn)).warnings


def test_two_numbers_of_one_app_keep_their_tenants(dsn: str, tmp_path: Path) -> None:
    with BY_NAME["whatsapp_cloud"].service() as far:
        second = account("whatsapp_cloud", far.base_url, account="two", phone_number_id="22222")
        both = {"whatsapp_cloud": [account("whatsapp_cloud", far.base_url), second]}
        with world("whatsapp_cloud", dsn, tmp_path, {"channels": both}) as here:
            here.trip.query("INSERT INTO et_tenants (name) VALUES ('Second') RETURNING id")
            here.trip.until(lambda: len(here.trip.query("SELECT FROM et_channel_accounts")) == 3)
            here.trip.connection.execute(
                "UPDATE et_channel_accounts SET tenant_id = (SELECT max(id) FROM et_tenants)"
                " WHERE account = 'two'"
            )
            message = here.message("To the second number")
            message["entry"][0]["changes"][0]["value"]["metadata"]["phone_number_id"] = "22222"
            here.deliver(message)
            here.deliver(here.message("To the first number", 2))
            rows = here.trip.query(
                "SELECT m.account, t.name FROM et_messages m JOIN et_tenants t ON t.id = m.tenant_id"
                " WHERE m.direction = 'inbound' ORDER BY m.id"
            )
            assert [tuple(row.values()) for row in rows] == [("two", "Second"), ("default", "Default")]


def test_meta_s_challenge_is_answered(dsn: str, tmp_path: Path) -> None:
    with world("whatsapp_cloud", dsn, tmp_path) as here:
        query = {"hub.mode": "subscribe", "hub.verify_token": "verify-me", "hub.challenge": "1158201444"}
        for path in ("", "/default"):
            answer = here.request("GET", path, params=query)
            assert (answer.status_code, answer.text) == (200, "1158201444")
        assert here.request("GET", params=query | {"hub.verify_token": "guess"}).status_code == 403
        assert whatsapp_cloud.NUMBER_ID


def test_a_webhook_does_not_make_engines_read_their_settings_again(dsn: str, tmp_path: Path) -> None:
    with world("waha", dsn, tmp_path) as here:
        here.converse()
        heard = []
        here.trip.connection.execute("LISTEN et_settings")
        here.deliver(here.message("And tomorrow?", 2))
        heard += here.trip.connection.notifies(timeout=0.3)
        assert heard == []
