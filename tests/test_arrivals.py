"""What a far end sends in by webhook: stored once, in one commit, before it hears 200."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.trip import Trip, trip

SECRET = "a-webhook-secret"


@pytest.fixture
def world(dsn: str, tmp_path: Path) -> Iterator[Trip]:
    settings = {
        "http_enabled": True,
        "http_port": 0,
        "simulator_webhook_secret": SECRET,
        "send_timeout_seconds": 3.0,
    }
    with trip(dsn, tmp_path, **settings) as whole:
        whole.start()
        yield whole


def post(world: Trip, body: dict[str, Any], secret: str = SECRET) -> int:
    assert world.engine is not None
    raw = json.dumps(body).encode()
    signature = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    address = world.engine.snapshot().http_address
    url = f"http://{address}/webhooks/simulator"
    return httpx.post(url, content=raw, headers={"X-Simulator-Signature": signature}).status_code


def message(number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"m{number}", "from": "anna", "text": f"hello {number}", **fields}


def test_messages_are_stored_once_and_answered(world: Trip) -> None:
    body = {"messages": [message(1), message(2, **{"from": "bert"})]}
    assert [post(world, body), post(world, body)] == [200, 200]
    rows = world.query(
        "SELECT id, provider_message_id FROM et_messages WHERE direction = 'inbound' ORDER BY id"
    )
    assert [row["provider_message_id"] for row in rows] == ["m1", "m2"]
    for row in rows:
        world.until_sent(row["id"])


def test_a_forged_signature_stores_nothing(world: Trip) -> None:
    assert post(world, {"messages": [message(1)]}, secret="another-secret") in (401, 403)
    assert world.query("SELECT FROM et_messages") == []


def test_receipts_move_forward_only(world: Trip) -> None:
    post(world, {"messages": [message(1)]})
    inbound = world.one("SELECT id FROM et_messages WHERE direction = 'inbound'")["id"]
    reply = world.until_sent(inbound)
    sent = {"id": reply["provider_message_id"], "message_id": reply["id"]}
    at = 1_772_366_400  # 2026-03-01 12:00 UTC
    assert post(world, {"receipts": [{**sent, "status": "read", "at": at + 5}]}) == 200
    assert post(world, {"receipts": [{**sent, "status": "delivered", "at": at + 3}]}) == 200
    row = world.message(reply["id"])
    assert row["delivered_at"].second == 3
    assert row["read_at"].second == 5
    assert row["delivery_status"] == "sent"


def test_a_receipt_settles_an_unknown_outcome(world: Trip) -> None:
    from engine.demo.channel_far_end import Conduct

    world.channel.next(Conduct.RESET)
    post(world, {"messages": [message(1)]})
    row = world.until(lambda: world.query("SELECT * FROM et_outbound_queue WHERE outcome = 'unknown'"))[0]
    arrival = world.channel.arrivals()[0]
    receipt = {"id": arrival.provider_message_id, "message_id": row["message_id"], "status": "delivered"}
    assert post(world, {"receipts": [receipt]}) == 200
    settled = world.one("SELECT status, outcome FROM et_outbound_queue")
    assert settled == {"status": "sent", "outcome": "confirmed"}
    assert world.message(row["message_id"])["delivery_status"] == "sent"


def test_a_receipt_before_its_send_is_recorded_is_kept(world: Trip) -> None:
    early = {"id": "not-known-yet", "status": "delivered", "at": 1_772_366_400}
    assert post(world, {"receipts": [early]}) == 200
    assert (
        world.one("SELECT provider_message_id FROM et_pending_receipts")["provider_message_id"]
        == "not-known-yet"
    )
    post(world, {"messages": [message(1)]})
    reply = world.until_sent(world.one("SELECT id FROM et_messages WHERE direction = 'inbound'")["id"])
    world.query(
        "UPDATE et_messages SET provider_message_id = 'not-known-yet' WHERE id = %s RETURNING id", reply["id"]
    )
    world.until(lambda: world.message(reply["id"])["delivered_at"])
    assert world.query("SELECT FROM et_pending_receipts") == []


def test_a_database_in_trouble_is_a_503_and_the_redelivery_is_taken(world: Trip) -> None:
    world.connection.execute("ALTER TABLE et_messages RENAME COLUMN provider_timestamp TO hidden")
    assert post(world, {"messages": [message(1)]}) == 503
    world.connection.execute("ALTER TABLE et_messages RENAME COLUMN hidden TO provider_timestamp")
    assert post(world, {"messages": [message(1)]}) == 200
    assert len(world.query("SELECT FROM et_messages WHERE direction = 'inbound'")) == 1


def test_a_receipt_during_the_send_settles_it_once_it_is_recorded(world: Trip) -> None:
    from engine.demo.channel_far_end import Conduct

    world.channel.next(Conduct.HANG)
    post(world, {"messages": [message(1)]})
    arrival = world.until(lambda: world.channel.arrivals())[0]
    receipt = {"id": arrival.provider_message_id, "message_id": arrival.message_id, "status": "delivered"}
    assert post(world, {"receipts": [receipt]}) == 200
    assert world.one("SELECT status FROM et_outbound_queue")["status"] == "processing"
    world.until(
        lambda: world.query("SELECT FROM et_outbound_queue WHERE status = 'sent' AND outcome = 'confirmed'")
    )
    assert world.message(arrival.message_id)["delivered_at"]
