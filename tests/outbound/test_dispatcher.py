"""What becomes of a reply on its way to the customer, whatever the far end does."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine.database.connection import Connection
from engine.demo.channel_far_end import Conduct
from engine.inbound import claims
from engine.outbound import holds, queue
from engine.outbound.queue import claim_sends
from engine.sends import Send
from tests.support.trip import Trip, trip


@pytest.fixture
def world(dsn: str, tmp_path: Path) -> Iterator[Trip]:
    with trip(dsn, tmp_path, send_timeout_seconds=1.5) as whole:
        yield whole


def until_queue(world: Trip, *statuses: str) -> dict[str, object]:
    row: dict[str, object] = world.until(
        lambda: world.query("SELECT * FROM et_outbound_queue WHERE status = ANY (%s)", list(statuses)),
        f"the queue row is {statuses}",
    )[0]
    message = world.message(row["message_id"])  # type: ignore[arg-type]
    assert message["delivery_status"] == row["status"], "the message mirrors its queue row"
    return row


@pytest.mark.parametrize(
    ("conduct", "status", "outcome", "received"),
    [
        (Conduct.OK, "sent", "confirmed", 1),
        (Conduct.SLOW, "sent", "confirmed", 1),
        (Conduct.NO_ID, "accepted", "confirmed", 1),
        (Conduct.REJECT, "failed", "rejected", 0),
        (Conduct.HANG, "failed", "unknown", 1),
        (Conduct.RESET, "failed", "unknown", 1),
        (Conduct.TRUNCATED, "failed", "unknown", 1),
        (Conduct.GARBAGE, "failed", "unknown", 1),
        (Conduct.ERROR, "failed", "unknown", 1),
    ],
)
def test_every_answer_has_its_outcome_and_nothing_is_sent_twice(
    world: Trip, conduct: Conduct, status: str, outcome: str, received: int
) -> None:
    world.channel.next(conduct)
    world.start()
    world.insert("hello")
    row = until_queue(world, "sent", "accepted", "failed")
    assert (row["status"], row["outcome"]) == (status, outcome)
    time.sleep(0.8)
    assert len(world.channel.arrivals()) == received
    assert world.channel.duplicates() == {}
    message = world.message(row["message_id"])  # type: ignore[arg-type]
    if status == "failed":
        assert message["reason"].startswith(outcome)
        assert message["last_error"]


@pytest.mark.parametrize("conduct", [Conduct.RATE, Conduct.BUSY])
def test_what_was_not_taken_is_tried_again(world: Trip, conduct: Conduct) -> None:
    world.channel.retry_after = 0.2
    world.channel.next(conduct, conduct)
    world.start()
    world.until_sent(world.insert("hello"))
    assert world.one("SELECT attempts FROM et_outbound_queue")["attempts"] == 3
    assert len(world.channel.arrivals()) == 1


def test_after_the_last_try_it_is_failed(world: Trip) -> None:
    world.channel.retry_after = 0.05
    world.channel.mix({Conduct.BUSY: 1.0})
    world.start(send_max_attempts=3, retry_base_seconds=0.05)
    world.insert("hello")
    row = until_queue(world, "failed")
    assert (row["attempts"], row["outcome"], row["error_class"]) == (3, "rejected", "transient")


def test_a_channel_that_is_down_keeps_its_messages_and_is_a_blocker(world: Trip) -> None:
    world.channel.mix({Conduct.LOCKED_OUT: 1.0})
    engine = world.start()
    message = world.insert("hello")
    world.until(lambda: any(b.code.startswith("channel.") for b in engine.snapshot().blockers))
    row = until_queue(world, "retry_scheduled", "queued")
    assert row["error_class"] == "channel_down", (
        "the account was paused before its message could be tried again"
    )
    world.channel.mix({})
    engine._dispatcher.heard_health("simulator/default", False)
    engine._dispatcher.heard_health("simulator/default", True)
    world.until_sent(message)
    assert engine._dispatcher.snapshot.paused_channels == []


def test_connections_refused_are_tried_again(world: Trip) -> None:
    world.channel.refuse_connections()
    world.start()
    message = world.insert("hello")
    row = world.until(lambda: world.query("SELECT * FROM et_outbound_queue WHERE error_class IS NOT NULL"))[0]
    assert row["error_class"] == "not_sent"
    world.channel.accept_connections()
    world.until_sent(message)
    assert len(world.channel.arrivals()) == 1


def test_an_outage_longer_than_all_tries_loses_nothing(world: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "FIRST_SECONDS", 0.1)
    monkeypatch.setattr(holds, "LONGEST_UNREACHED_SECONDS", 0.4)
    world.channel.refuse_connections()
    engine = world.start(send_max_attempts=2, retry_base_seconds=0.01, poll_seconds=0.1)
    ids = [world.insert(f"hello {number}", sender=f"customer {number}") for number in range(5)]
    for message_id in ids:
        world.until_status(message_id, "inbound_ai_replied")
    (blocker,) = world.until(
        lambda: [b for b in engine._dispatcher.blockers if b.code == "channel.unreachable"]
    )
    assert blocker.where == "simulator/default"
    assert "wait" in blocker.remedy
    tried = world.query("SELECT claim_token FROM et_outbound_queue ORDER BY id")
    time.sleep(3)  # many times longer than two tries take
    rows = world.query("SELECT * FROM et_outbound_queue ORDER BY id")
    assert {row["status"] for row in rows} <= {"queued", "retry_scheduled", "processing"}
    assert max(row["attempts"] for row in rows) <= 1
    claims = sum(row["claim_token"] for row in rows) - sum(row["claim_token"] for row in tried)
    assert claims <= 50, "messages that wait are left alone"
    assert [b.code for b in engine.snapshot().blockers].count("channel.unreachable") == 1
    world.channel.accept_connections()
    for message_id in ids:
        world.until_sent(message_id)
    assert len(world.channel.arrivals()) == 5
    assert world.channel.duplicates() == {}
    world.until(lambda: not engine._dispatcher.blockers)
    assert engine._dispatcher.snapshot.paused_channels == []


def test_a_failed_send_does_not_hold_up_the_next_but_a_waiting_one_does(world: Trip) -> None:
    world.channel.retry_after = 1.0
    world.channel.next(Conduct.REJECT, Conduct.BUSY)
    world.start()
    ids = []
    for text in ("one", "two", "three"):
        ids.append(world.insert(text))
        world.until_status(ids[-1], "inbound_ai_replied")
    for message_id in ids[1:]:
        world.until_sent(message_id)
    rows = world.query("SELECT status FROM et_outbound_queue ORDER BY id")
    assert [row["status"] for row in rows] == ["failed", "sent", "sent"]
    assert [a.message_id for a in world.channel.arrivals()] == sorted(
        a.message_id for a in world.channel.arrivals()
    )


def test_a_reply_of_an_earlier_epoch_is_cancelled_not_sent(world: Trip) -> None:
    world.start()
    engine = world.engine
    assert engine is not None
    world.until(lambda: engine.snapshot().channels, "the first probe has passed")
    engine._dispatcher._holds.stop("simulator/default", None, time.monotonic(), seconds=3600)
    message = world.insert("hello")
    world.until_status(message, "inbound_ai_replied")
    world.connection.execute("UPDATE et_threads SET owner = 'human', epoch = epoch + 1")
    engine._dispatcher.heard_health("simulator/default", False)
    engine._dispatcher.heard_health("simulator/default", True)
    row = until_queue(world, "failed")
    assert row["outcome"] == "cancelled"
    assert world.channel.arrivals() == []


def test_an_engine_that_died_while_sending_leaves_an_unknown_outcome(world: Trip) -> None:
    world.start()
    world.stop()
    world.insert("x")
    world.query("UPDATE et_threads SET due_at = NULL RETURNING id")
    thread = world.one("SELECT id FROM et_threads")["id"]
    for started in (True, False):
        message = world.query(
            "INSERT INTO et_messages (tenant_id, thread_id, channel, direction, text_content, delivery_status, author)"
            " VALUES (1, %s, 'simulator', 'outbound', 'hello', 'queued', 'human') RETURNING id",
            thread,
        )[0]["id"]
        world.query(
            "INSERT INTO et_outbound_queue (message_id, thread_id, channel) VALUES (%s, %s, 'simulator') RETURNING id",
            message,
            thread,
        )
        world.query(
            "UPDATE et_outbound_queue SET status = 'processing', claim_token = 1, claimed_by = 'the dead',"
            " lease_until = now() - interval '1 s', send_started_at = CASE WHEN %s THEN now() END"
            " WHERE message_id = %s RETURNING id",
            started,
            message,
        )
        world.query(
            "UPDATE et_messages SET delivery_status = 'processing' WHERE id = %s RETURNING id", message
        )
    world.start(lease_seconds=2.0)
    world.until(lambda: world.query("SELECT FROM et_outbound_queue WHERE status = 'sent'"))
    assert len(world.channel.arrivals()) == 1
    rows = world.query("SELECT status, outcome FROM et_outbound_queue ORDER BY id")
    assert [(row["status"], row["outcome"]) for row in rows] == [("failed", "unknown"), ("sent", "confirmed")]


def test_a_stop_during_a_claim_leaves_nothing_behind(world: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed: list[Send] = []

    async def slow(*args: Any, **options: Any) -> list[Send]:
        found = await claim_sends(*args, **options)
        claimed.extend(found)
        await asyncio.sleep(0.5 if found else 0)  # the answer is under way
        return found

    monkeypatch.setattr(queue, "claim_sends", slow)
    engine = world.start()
    # So that it claims the reply itself:
    monkeypatch.setattr(engine._dispatcher, "leaves_at_once", lambda _: False)
    monkeypatch.setattr(engine._dispatcher, "take", lambda *_: None)
    world.insert("hello")
    row = until_queue(world, "processing")
    world.query("UPDATE et_outbound_queue SET lease_until = now() WHERE id = %s RETURNING id", row["id"])
    world.until(lambda: claimed)
    world.stop()
    assert until_queue(world, "sent")["outcome"] == "confirmed", "it was not cut off on its way"


def test_a_reply_that_nothing_holds_back_is_written_with_its_mark(
    world: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked: list[Send] = []
    start = queue.start_sends

    async def noted(connection: Any, engine: str, sends: Sequence[Send]) -> list[bool]:
        marked.extend(sends)
        return await start(connection, engine, sends)

    monkeypatch.setattr(queue, "start_sends", noted)
    world.start()
    world.until_sent(world.insert("hello"))
    assert marked == []
    assert world.one("SELECT send_started_at = created_at AS at_once FROM et_outbound_queue")["at_once"]


@pytest.mark.parametrize("what", ["quiet hours", "rate"])
def test_a_reply_that_is_held_back_is_not_marked_before_its_time(
    world: Trip, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if what == "quiet hours":
        world.query(
            "UPDATE et_workspaces SET quiet_from = to_char(now() AT TIME ZONE 'UTC' - interval '1 h', 'HH24:MI'),"
            " quiet_to = to_char(now() AT TIME ZONE 'UTC' + interval '1 h', 'HH24:MI') RETURNING id"
        )
    engine = world.start()
    if what == "rate":
        channel = engine._dispatcher._channels.get("simulator")
        slow = dataclasses.replace(channel.capabilities, per_second=0.01)
        monkeypatch.setattr(channel, "capabilities", slow)
        world.until_sent(world.insert("first"))
    message = world.insert("hello", sender="bert")
    world.until_status(message, "inbound_ai_replied")
    reply = world.reply_to(message)
    assert reply is not None
    row = world.until(
        lambda: world.query(
            "SELECT send_started_at FROM et_outbound_queue WHERE status = 'queued' AND message_id = %s",
            reply["id"],
        )
    )[0]
    assert row["send_started_at"] is None


def test_a_reply_whose_commit_was_not_heard_of_is_sent_once(
    world: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = claims.complete_turns
    lost: list[int] = []

    async def deaf(*args: Any) -> Any:
        done = await complete(*args)
        if lost:
            return done
        lost.append(1)
        raise psycopg.OperationalError("the connection broke")

    monkeypatch.setattr(claims, "complete_turns", deaf)
    world.start(lease_seconds=2.0)
    world.until_sent(world.insert("hello"))
    assert lost
    assert len(world.channel.arrivals()) == 1
    assert world.one("SELECT claim_token FROM et_outbound_queue")["claim_token"] == 1, "by who had claimed it"


def test_a_lane_whose_connection_breaks_after_its_answer_does_not_write_again(
    world: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the answer said was done with it already."""
    complete = claims.complete_turns
    written: list[int] = []

    async def counted(*args: Any) -> Any:
        done = await complete(*args)
        written.append(len(done))
        return done

    monkeypatch.setattr(claims, "complete_turns", counted)
    engine = world.start()
    lane = engine._worker.lane
    pool = lane._pool

    class Breaking:
        @asynccontextmanager
        async def connection(self) -> AsyncIterator[Connection]:
            async with pool.connection() as connection:
                yield connection
            if len(written) == 1:
                raise psycopg.OperationalError("the connection broke")

    monkeypatch.setattr(lane, "_pool", Breaking())
    world.until_sent(world.insert("hello"))
    time.sleep(0.8)
    assert written == [1]
    assert len(world.channel.arrivals()) == 1


def test_an_account_that_does_not_exist_is_no_trouble_once_nothing_waits_for_it(world: Trip) -> None:
    world.start(lease_seconds=2.0)
    engine = world.engine
    assert engine is not None
    world.until_sent(world.insert("hello"))
    world.query(
        "INSERT INTO et_messages (tenant_id, thread_id, channel, direction, text_content, delivery_status, author)"
        " SELECT 1, id, 'telegram', 'outbound', 'hi', 'queued', 'human' FROM et_threads RETURNING id"
    )
    world.query(
        "INSERT INTO et_outbound_queue (message_id, thread_id, channel) SELECT max(id), 1, 'telegram' FROM et_messages"
        " RETURNING id"
    )

    def codes() -> list[str]:
        return [blocker.code for blocker in engine.snapshot().blockers]

    world.until(lambda: codes() == ["channel.unknown"], "a message waits for an account that is not there")
    time.sleep(2)  # some rescues later
    assert codes() == ["channel.unknown"], "as long as it waits"
    world.query(
        "UPDATE et_outbound_queue SET status = 'failed', outcome = 'cancelled' WHERE channel = 'telegram' RETURNING id"
    )
    world.until(lambda: not codes(), "it was cancelled")


def test_quiet_hours_hold_back_the_ai_but_not_a_person(world: Trip) -> None:
    world.connection.execute("UPDATE et_workspaces SET quiet_from = '00:00', quiet_to = '23:59:59'")
    world.start()
    message = world.insert("hello")
    world.until_status(message, "inbound_ai_replied")
    row = world.until(lambda: world.query("SELECT * FROM et_outbound_queue WHERE next_attempt_at > now()"))[0]
    assert (row["status"], row["attempts"]) == ("queued", 0)
    assert world.channel.arrivals() == []
    world.connection.execute("UPDATE et_outbound_queue SET author = 'human', next_attempt_at = now()")
    world.until_sent(message)
