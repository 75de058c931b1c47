"""Fault 24: receipts come before the send's own answer, twice, backwards, or for a send nobody can tell of."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.channels.base import Receipt, ReceiptStatus
from engine.database.connection import open_pool, transaction
from engine.demo.channel_far_end import Arrival, Conduct
from engine.outbound.receipts import apply_pending_receipts, apply_receipts
from tests.faults.failpoints import EXIT_CODE
from tests.faults.stage import Stage, stage

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def scene(dsn: str, tmp_path: Path) -> Iterator[Stage]:
    with stage(dsn, tmp_path) as whole:
        yield whole


def apply(scene: Stage, *receipts: Receipt) -> None:
    """As the webhook does, in one commit."""

    async def store() -> None:
        async with open_pool(scene.world.dsn, size=1) as pool, transaction(pool) as connection:
            await apply_receipts(connection, "simulator", receipts)

    asyncio.run(store())


def apply_pending(scene: Stage) -> None:
    """As every engine does every few seconds."""

    async def look_again() -> None:
        async with open_pool(scene.world.dsn, size=1) as pool:
            await apply_pending_receipts(pool)

    asyncio.run(look_again())


def receipt_of(arrival: Arrival, status: ReceiptStatus, *, ours: bool, minutes: int = 0) -> Receipt:
    return Receipt(
        account=arrival.account,
        provider_message_id=arrival.provider_message_id,
        message_id=arrival.message_id if ours else None,
        status=status,
        at=NOON + timedelta(minutes=minutes),
    )


def arrived(scene: Stage) -> Arrival:
    """The one message that a customer has received."""
    arrivals: list[Arrival] = scene.until(scene.world.channel.arrivals, "it arrives")
    return arrivals[0]


def until_settled(scene: Stage) -> dict[str, Any]:
    """The reply, once its queue row says what became of it; receipts that waited are applied meanwhile."""

    def settled() -> dict[str, Any] | None:
        apply_pending(scene)
        rows = scene.world.query(
            "SELECT * FROM et_outbound_queue WHERE status IN ('sent', 'accepted', 'failed')"
        )
        waiting = scene.world.query("SELECT FROM et_pending_receipts")
        return rows[0] if rows and not waiting else None

    row = scene.until(settled, "the send is settled and no receipt waits")
    message: dict[str, Any] = scene.world.message(row["message_id"])
    assert message["delivery_status"] == row["status"]
    return message | {"outcome": row["outcome"]}


@pytest.mark.parametrize("ours", [True, False], ids=["by our id", "by the provider's id"])
@pytest.mark.parametrize("conduct", [Conduct.SLOW, Conduct.NO_ID])
def test_a_receipt_that_overtakes_the_answer_is_kept(scene: Stage, ours: bool, conduct: Conduct) -> None:
    scene.world.channel.slow_seconds = 0.7
    scene.world.channel.latency = 0.5
    scene.world.channel.next(conduct)
    scene.launch(send_timeout_seconds=5.0)
    scene.world.insert("hello")
    apply(scene, receipt_of(arrived(scene), ReceiptStatus.DELIVERED, ours=ours))
    if conduct is Conduct.NO_ID and not ours:
        row = scene.until(
            lambda: scene.world.query("SELECT * FROM et_outbound_queue WHERE status = 'accepted'"), "accepted"
        )
        assert scene.world.query("SELECT FROM et_pending_receipts"), "nobody knows yet whose it is"
        assert row[0]["outcome"] == "confirmed"
        return
    reply = until_settled(scene)
    assert (reply["delivery_status"], reply["outcome"]) == ("sent", "confirmed")
    assert reply["delivered_at"] == NOON
    assert scene.violations() == {}


@pytest.mark.parametrize("conduct", [Conduct.HANG, Conduct.RESET, Conduct.GARBAGE])
@pytest.mark.parametrize("when", ["before it is given up", "after it is given up"])
def test_an_unknown_outcome_is_settled_by_its_receipt(scene: Stage, conduct: Conduct, when: str) -> None:
    """The far end took it and never said so; its receipt names our id."""
    scene.world.channel.next(conduct)
    scene.launch()
    scene.world.insert("hello")
    arrival = arrived(scene)
    if when.startswith("after"):
        scene.until(
            lambda: scene.world.query("SELECT FROM et_outbound_queue WHERE outcome = 'unknown'"), "given up"
        )
    apply(scene, receipt_of(arrival, ReceiptStatus.DELIVERED, ours=True))
    scene.until(lambda: until_settled(scene)["delivery_status"] == "sent", "it is settled")
    reply = until_settled(scene)
    assert reply["outcome"] == "confirmed"
    assert reply["delivered_at"] == NOON
    assert reply["provider_message_id"] == arrival.provider_message_id
    assert len(scene.world.channel.arrivals()) == 1
    assert scene.violations() == {}


def test_a_receipt_outlives_the_engine_that_sent(scene: Stage) -> None:
    """The engine dies before it records; the receipt came in between. Settled, not resent."""
    engine = scene.launch("before T5 record")
    scene.world.insert("hello")
    arrival = arrived(scene)
    apply(scene, receipt_of(arrival, ReceiptStatus.READ, ours=True))
    assert scene.until_dead(engine) == EXIT_CODE
    scene.launch()
    scene.until(lambda: until_settled(scene)["delivery_status"] == "sent", "it is settled")
    assert until_settled(scene)["read_at"] == NOON
    assert len(scene.world.channel.arrivals()) == 1
    assert scene.violations() == {}


def test_receipts_in_any_order_and_twice_only_move_forward(scene: Stage) -> None:
    minutes = {"sent": 1, "delivered": 2, "read": 3}
    orders = list(itertools.permutations(minutes))
    scene.launch()
    for n in range(len(orders)):
        scene.world.insert("hello", sender=f"p{n}")
    scene.until_rest()
    for arrival, order in zip(scene.world.channel.arrivals(), orders, strict=True):
        for status in [*order, *order]:
            apply(scene, receipt_of(arrival, ReceiptStatus(status), ours=False, minutes=minutes[status]))
        late = receipt_of(arrival, ReceiptStatus.DELIVERED, ours=False, minutes=60)
        apply(scene, late, receipt_of(arrival, ReceiptStatus.FAILED, ours=False, minutes=61))
        reply = scene.world.message(arrival.message_id)
        assert reply["delivery_status"] == "sent", "a message that was read has not failed"
        assert reply["delivered_at"] == NOON + timedelta(minutes=2), order
        assert reply["read_at"] == NOON + timedelta(minutes=3), order
    assert scene.violations() == {}


def test_receipts_of_messages_that_are_not_ours_are_kept_and_harm_nobody(scene: Stage) -> None:
    scene.launch()
    scene.world.insert("hello")
    arrived(scene)
    until_settled(scene)
    before = scene.world.query("SELECT * FROM et_messages ORDER BY id")
    stranger = Receipt(account="default", provider_message_id="x", status=ReceiptStatus.FAILED)
    other_channel = Receipt(
        account="default", provider_message_id="y", status=ReceiptStatus.READ, message_id=before[0]["id"]
    )
    apply(scene, stranger, other_channel)
    assert scene.world.query("SELECT * FROM et_messages ORDER BY id") == before
