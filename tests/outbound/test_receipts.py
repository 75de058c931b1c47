"""A receipt that hands a thread to a person is a takeover: nothing of the AI starts after it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from engine.channels.base import Receipt, ReceiptStatus
from engine.database.connection import Connection, connect, open_pool
from engine.model import OutboundStatus, Outcome
from engine.outbound import queue
from engine.outbound.queue import SendResult
from engine.outbound.receipts import apply_pending_receipts, apply_receipts


async def replies(db: Connection) -> None:
    """Two replies of the AI in one thread, the first of them accepted by the far end."""
    await db.execute(
        "WITH t AS (INSERT INTO et_threads (tenant_id, channel, address) VALUES (1, 'simulator', 'anna') RETURNING id),"
        " m AS (INSERT INTO et_messages (tenant_id, thread_id, channel, direction, delivery_status, author,"
        "                            text_content)"
        "       SELECT 1, id, 'simulator', 'outbound', 'queued', 'ai', 'hello ' || n FROM t, generate_series(1, 2) n"
        "       RETURNING id, thread_id)"
        " INSERT INTO et_outbound_queue (message_id, tenant_id, thread_id, channel, author)"
        " SELECT id, 1, thread_id, 'simulator', 'ai' FROM m ORDER BY id"
    )
    (first,) = await queue.claim_sends(db, engine="one", sends=9, lease_seconds=60, paused=[])
    assert await queue.start_sends(db, "one", [first]) == [True]
    taken = SendResult(
        first.queue_id, first.token, OutboundStatus.ACCEPTED, Outcome.CONFIRMED, provider_message_id="P1"
    )
    assert await queue.record_sends(db, [taken]) == [True]


async def test_a_send_waits_for_a_receipt_that_takes_its_thread_over(db: Connection, dsn: str) -> None:
    await replies(db)
    second = await queue.claim_sends(db, engine="one", sends=9, lease_seconds=60, paused=[])
    closed = Receipt(
        account="default", provider_message_id="P1", status=ReceiptStatus.FAILED, needs_human=True
    )
    async with await connect(dsn) as webhook:
        async with webhook.transaction():
            assert await apply_receipts(webhook, "simulator", [closed]) == 1
            starting = asyncio.create_task(queue.start_sends(db, "one", second))
            await asyncio.sleep(0.3)
            assert not starting.done(), "it waits to see whose the thread is"
        assert await starting == [False]


@pytest.mark.parametrize(
    ("account", "told_by", "accounts", "counts"),
    [
        ("shop", "shop", ["shop", "bar"], True),
        ("shop", "bar", ["shop", "bar"], False),
        ("default", "shop", ["shop"], True),  # the only account sends what names none
        ("default", "shop", ["shop", "default"], False),
    ],
)
async def test_our_own_id_counts_only_from_the_account_that_sent_the_message(
    db: Connection, dsn: str, account: str, told_by: str, accounts: list[str], counts: bool
) -> None:
    await db.execute(
        "INSERT INTO et_channel_accounts (channel, account) SELECT 'simulator', unnest(%s::text[])",
        [accounts],
    )
    await replies(db)
    await db.execute("UPDATE et_messages SET account = %s", [account])
    forged = Receipt(
        account=told_by,
        provider_message_id="GUESSED",
        message_id=2,
        status=ReceiptStatus.FAILED,
        needs_human=True,
    )
    assert await apply_receipts(db, "simulator", [forged]) == counts
    async with open_pool(dsn, size=1) as pool:
        assert await apply_pending_receipts(pool) == 0
    owner = await (await db.execute("SELECT owner FROM et_threads")).fetchone()
    assert owner == {"owner": "human" if counts else "ai"}


@pytest.mark.parametrize(("started", "sent"), [(9, 5), (2, 2)])
async def test_a_message_was_sent_when_the_far_end_answered_not_when_that_was_recorded(
    db: Connection, started: int, sent: int
) -> None:
    """Seconds ago; it never comes before the start, whatever the clocks say."""
    await replies(db)
    await db.execute("UPDATE et_outbound_queue SET status = 'sent' WHERE status = 'accepted'")
    (send,) = await queue.claim_sends(db, engine="one", sends=9, lease_seconds=60, paused=[])
    assert await queue.start_sends(db, "one", [send]) == [True]
    await db.execute(
        "UPDATE et_outbound_queue SET send_started_at = now() - make_interval(secs => %s)", [started]
    )
    answer = SendResult(
        send.queue_id, send.token, OutboundStatus.SENT, Outcome.CONFIRMED, known_at=time.monotonic() - 5
    )
    assert await queue.record_sends(db, [answer]) == [True]
    assert await seconds_since(db, "sent_at", send.message_id) == pytest.approx(sent, abs=1)


@pytest.mark.parametrize("status", [ReceiptStatus.SENT, ReceiptStatus.DELIVERED])
async def test_a_receipt_that_settles_an_unknown_send_tells_when_it_was_sent(
    db: Connection, status: ReceiptStatus
) -> None:
    await replies(db)
    (send,) = await queue.claim_sends(db, engine="one", sends=9, lease_seconds=60, paused=[])
    assert await queue.start_sends(db, "one", [send]) == [True]
    lost = SendResult(send.queue_id, send.token, OutboundStatus.FAILED, Outcome.UNKNOWN)
    assert await queue.record_sends(db, [lost]) == [True]
    await db.execute("UPDATE et_messages SET send_started_at = now() - interval '9 s'")
    arrived = Receipt(
        account="default",
        provider_message_id="P2",
        message_id=send.message_id,
        status=status,
        at=datetime.now(UTC) - timedelta(seconds=5),
    )
    assert await apply_receipts(db, "simulator", [arrived]) == 1
    assert await seconds_since(db, "sent_at", send.message_id) == pytest.approx(5, abs=1)


async def test_what_was_delivered_had_been_sent_though_the_answer_was_heard_late(db: Connection) -> None:
    await replies(db)
    await db.execute("UPDATE et_outbound_queue SET send_started_at = now() - interval '9 s'")
    await db.execute(
        "UPDATE et_messages SET send_started_at = now() - interval '9 s', sent_at = now() WHERE sent_at IS NOT NULL"
    )
    at = datetime.now(UTC) - timedelta(seconds=5)
    arrived = Receipt(account="default", provider_message_id="P1", status=ReceiptStatus.DELIVERED, at=at)
    assert await apply_receipts(db, "simulator", [arrived]) == 1
    assert await seconds_since(db, "sent_at", 1) == pytest.approx(5, abs=1)


async def seconds_since(db: Connection, column: str, message_id: int) -> float:
    found = await db.execute(
        f"SELECT extract(epoch FROM now() - {column})::float AS seconds FROM et_messages WHERE id = %s",
        [message_id],
    )
    row = await found.fetchone()
    assert row is not None
    return float(row["seconds"])
