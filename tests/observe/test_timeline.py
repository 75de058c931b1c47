"""The waterfall: every stretch of a trip in its place, from the columns alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from engine.model import TurnOutcome
from engine.observe.timeline import Timeline, turn_timeline
from engine.operator.replay import requeue
from engine.operator.reply import send_reply
from engine.operator.takeover import take_over
from tests.operator.world import ANNA, World, world

T0 = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
async def w(dsn: str) -> AsyncIterator[World]:
    async with world(dsn) as made:
        yield made


def at(ms: float) -> datetime:
    return T0 + timedelta(milliseconds=ms)


def call(start: float, latency: int, failure: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "provider": "uniapi",
        "model": "m",
        "started_at": at(start).isoformat(),
        "latency_ms": latency,
        "ok": failure is None,
        "failure": failure,
        **more,
    }


async def trip(w: World, message_id: int) -> Timeline:
    found = await turn_timeline(w.pool, message_id)
    assert found is not None
    return found


def told(found: Timeline) -> list[tuple[str, float, float | None]]:
    return [(span.name, span.start_ms, span.end_ms) for span in found.spans]


async def answered_trip(w: World, calls: list[dict[str, Any]]) -> tuple[int, int]:
    """An answered, sent and read message with known times; its id and its reply's."""
    done = await w.answered()
    assert done.reply_id is not None
    send = await w.claim_send()
    await w.start(send)
    await w.record(send, "sent", "confirmed", provider_message_id="x")
    head = (await w.one("SELECT id FROM et_messages WHERE direction = 'inbound'"))["id"]
    await w.query("UPDATE et_messages SET created_at = %s WHERE id = %s", T0, head)
    await w.query(
        "UPDATE et_turns SET started_at = %s, context_at = %s, answered_at = %s, finished_at = %s, attempts = %s",
        *(at(ms) for ms in (2000, 2010, 3010, 3030)),
        Jsonb(calls),
    )
    await w.query("UPDATE et_outbound_queue SET send_started_at = %s, finished_at = %s", at(3100), at(3300))
    await w.query(
        """UPDATE et_messages SET created_at = %s, send_started_at = %s, sent_at = %s, delivered_at = %s, read_at = %s
            WHERE id = %s""",
        *(at(ms) for ms in (3030, 3100, 3300, 4000, 9000)),
        done.reply_id,
    )
    return head, done.reply_id


async def test_the_whole_trip_in_order(w: World) -> None:
    calls = [call(2010, 300, "rate", error="slow down"), call(2310, 700)]
    head, reply = await answered_trip(w, calls)
    found = await trip(w, head)
    assert told(found) == [
        ("waiting", 0, 2000),
        ("context", 2000, 2010),
        ("llm", 2010, 2310),
        ("llm", 2310, 3010),
        ("policy", 3010, 3030),
        ("queued", 3030, 3100),
        ("sending", 3100, 3300),
        ("delivery", 3300, 4000),
        ("reading", 4000, 9000),
    ]
    assert [span.ok for span in found.spans] == [True, True, False, *[True] * 6]
    assert found.spans[2].detail == "uniapi/m: rate slow down"
    assert (found.began_at, found.total_ms, found.ended) == (T0, 9000, True)
    assert told(await trip(w, reply)) == told(found), "the reply belongs to the same trip"


async def test_an_engine_whose_clock_is_off_is_set_right(w: World) -> None:
    head, _ = await answered_trip(w, [call(3_602_010, 300, "rate"), call(3_602_310, 700)])
    found = await trip(w, head)
    assert told(found)[2:4] == [("llm", 2010, 2310), ("llm", 2310, 3010)]


async def test_a_message_that_waits(w: World) -> None:
    found = await trip(w, await w.insert())
    assert told(found) == [("waiting", 0, None)]
    assert not found.ended
    assert found.total_ms > 0


async def test_a_message_in_work(w: World) -> None:
    message_id = await w.insert()
    await w.claim_one()
    found = await trip(w, message_id)
    assert [span.name for span in found.spans] == ["waiting", "claimed"]
    assert found.spans[1].end_ms is None
    assert found.spans[1].detail == "engine-1"


async def test_each_turn_of_a_replayed_message_is_there(w: World) -> None:
    message_id = await w.failed()
    await requeue(w.pool, ANNA, [message_id])
    await w.complete(await w.claim_one())
    found = await trip(w, message_id)
    assert [span.name for span in found.spans] == ["waiting", "policy", "waiting", "policy", "queued"]
    assert [span.ok for span in found.spans] == [True, False, True, True, True]
    assert found.spans[1].detail == "no answer"
    assert len({span.turn_id for span in found.spans if span.name == "policy"}) == 2
    starts = [span.start_ms for span in found.spans]
    assert starts == sorted(starts)


async def test_dry_runs_are_not_part_of_the_trip(w: World) -> None:
    message_id = await w.failed()
    before = await trip(w, message_id)
    await w.query(
        """INSERT INTO et_turns (tenant_id, thread_id, message_id, kind, outcome)
           SELECT tenant_id, thread_id, message_id, 'dry_run', 'dry_run' FROM et_turns"""
    )
    assert told(await trip(w, message_id)) == told(before)


async def test_a_failed_send_and_a_retry_are_told(w: World) -> None:
    done = await w.answered()
    send = await w.claim_send()
    await w.start(send)
    assert done.reply_id is not None
    assert (await trip(w, done.reply_id)).spans[-1].name == "sending"
    await w.record(send, "retry_scheduled", error="busy\nline", retry_seconds=60.0)
    last = (await trip(w, done.reply_id)).spans[-1]
    assert (last.name, last.end_ms, last.ok, last.detail) == ("queued", None, True, "busy ⏎ line")
    await w.promote()
    send = await w.claim_send()
    await w.start(send)
    await w.record(send, "failed", "rejected", error="no such number")
    found = await trip(w, done.reply_id)
    assert (found.spans[-1].name, found.spans[-1].ok, found.spans[-1].detail) == (
        "sending",
        False,
        "no such number",
    )
    assert found.ended


async def test_a_person_s_part(w: World) -> None:
    message_id = await w.insert()
    claim = await w.claim_one()
    await take_over(w.pool, ANNA, claim.thread_id)
    found = await trip(w, message_id)
    assert [(span.name, span.end_ms is None) for span in found.spans] == [
        ("waiting", False),
        ("with a person", True),
    ]
    await w.complete(claim)
    sent = await send_reply(w.pool, ANNA, claim.thread_id, "here")
    found = await trip(w, message_id)
    assert [span.name for span in found.spans] == ["waiting", "policy", "with a person", "queued"]
    assert found.spans[2].end_ms is not None
    alone = await trip(w, sent.message_id)
    assert [span.name for span in alone.spans] == ["queued"]


async def test_what_a_rule_decided(w: World) -> None:
    message_id = await w.insert()
    await w.complete(
        await w.claim_one(), TurnOutcome.TAKEOVER, reason="policy.opt_out", error="the customer asked"
    )
    found = await trip(w, message_id)
    assert [span.name for span in found.spans] == ["waiting", "policy", "with a person"]
    assert (found.spans[1].ok, found.spans[1].detail) == (False, "the customer asked")


async def test_no_such_message(w: World) -> None:
    assert await turn_timeline(w.pool, 999) is None
