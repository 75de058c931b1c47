"""Fault 30: a person takes a thread over at every step of a turn and of a send."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.database.connection import open_pool
from engine.operator.audit import Operator
from engine.operator.takeover import Release, Takeover, release, take_over
from tests.faults.failpoints import FREEZE
from tests.faults.stage import Stage, stage

ANNA = Operator("anna", "desk")
#: Steps at which the turn has not been written: its text becomes a draft.
BEFORE_THE_REPLY = ("after T1 claim", "before LLM call", "after LLM call", "before T2 complete")
#: Steps at which the reply is written and has not been marked: it is cancelled.
BEFORE_THE_MARK = ("before T3 claim send", "after T3 claim send", "before T4 mark")
#: Steps at which it is marked: it can no longer be held back, and the person is told.
AFTER_THE_MARK = (
    "after T2 complete",
    "after T4 mark",
    "before HTTP send",
    "after HTTP send",
    "before T5 record",
)


@pytest.fixture
def scene(dsn: str, tmp_path: Path) -> Iterator[Stage]:
    with stage(dsn, tmp_path) as whole:
        yield whole


def act(scene: Stage, thread: int) -> Takeover:
    async def take() -> Takeover:
        async with open_pool(scene.world.dsn, size=1) as pool:
            return await take_over(pool, ANNA, thread)

    return asyncio.run(take())


def hand_back(scene: Stage, thread: int) -> Release:
    async def give() -> Release:
        async with open_pool(scene.world.dsn, size=1) as pool:
            return await release(pool, ANNA, thread)

    return asyncio.run(give())


def taken_over_at(scene: Stage, failpoint: str) -> tuple[int, Takeover]:
    """An engine held up at that point, a takeover meanwhile, and the engine going on."""
    message = scene.world.insert("hello")
    engine = scene.launch(FREEZE + failpoint, lease_seconds=30.0, send_lease_margin=30.0)
    scene.until_frozen(engine)
    taken = act(scene, scene.world.message(message)["thread_id"])
    engine.signal(signal.SIGCONT)
    return message, taken


def linger(scene: Stage) -> None:
    """Long enough for whatever might still leave."""
    scene.until_rest()
    time.sleep(0.7)


@pytest.mark.parametrize("failpoint", BEFORE_THE_REPLY)
def test_a_running_turn_becomes_a_draft(scene: Stage, failpoint: str) -> None:
    message, taken = taken_over_at(scene, failpoint)
    assert (taken.parked_messages, taken.cancelled_sends, taken.sends_in_flight) == (1, 0, 0)
    turn = scene.until(lambda: scene.world.query("SELECT * FROM et_turns"), "the turn is recorded")[0]
    assert (turn["outcome"], turn["draft"] is not None) == ("drafted", True)
    linger(scene)
    assert scene.world.message(message)["delivery_status"] == "inbound_human_takeover"
    assert scene.world.reply_to(message) is None
    assert scene.world.channel.arrivals() == []
    assert scene.violations() == {}


@pytest.mark.parametrize("failpoint", BEFORE_THE_MARK)
def test_an_unmarked_send_is_cancelled(scene: Stage, failpoint: str) -> None:
    message, taken = taken_over_at(scene, failpoint)
    assert (taken.parked_messages, taken.cancelled_sends, taken.sends_in_flight) == (0, 1, 0)
    linger(scene)
    assert scene.world.message(message)["delivery_status"] == "inbound_ai_replied"
    send = scene.world.one("SELECT * FROM et_outbound_queue")
    assert (send["status"], send["outcome"]) == ("failed", "cancelled")
    assert scene.world.channel.arrivals() == []
    assert scene.violations() == {}


@pytest.mark.parametrize("failpoint", AFTER_THE_MARK)
def test_a_marked_send_is_told_of_and_arrives_once(scene: Stage, failpoint: str) -> None:
    _, taken = taken_over_at(scene, failpoint)
    assert (taken.parked_messages, taken.cancelled_sends, taken.sends_in_flight) == (0, 0, 1)
    linger(scene)
    assert scene.world.one("SELECT status FROM et_outbound_queue")["status"] == "sent"
    assert len(scene.world.channel.arrivals()) == 1
    assert scene.violations() == {}


@pytest.mark.parametrize("failpoint", [*BEFORE_THE_REPLY, *BEFORE_THE_MARK])
def test_a_hand_back_does_not_bring_the_old_words_back(scene: Stage, failpoint: str) -> None:
    """Taken over and handed back while an engine was held up: what it had in hand belongs to another epoch."""
    message = scene.world.insert("hello")
    thread = scene.world.message(message)["thread_id"]
    engine = scene.launch(FREEZE + failpoint, lease_seconds=30.0, send_lease_margin=30.0)
    scene.until_frozen(engine)
    act(scene, thread)
    hand_back(scene, thread)
    engine.signal(signal.SIGCONT)
    after = scene.world.insert("are you back?")
    scene.world.until_sent(after)
    linger(scene)
    assert [arrival.message_id for arrival in scene.world.channel.arrivals()] == [
        scene.world.reply_to(after)["id"]  # type: ignore[index]
    ]
    assert scene.violations() == {}


def test_a_retry_of_the_ai_does_not_start_after_a_takeover(scene: Stage) -> None:
    """The far end was busy, a person took over while the message waited for its next try."""
    from engine.demo.channel_far_end import Conduct

    scene.world.channel.mix({Conduct.BUSY: 1.0})
    scene.world.channel.retry_after = 1.0
    message = scene.world.insert("hello")
    scene.launch()
    scene.until(
        lambda: scene.world.query("SELECT FROM et_outbound_queue WHERE status = 'retry_scheduled'"),
        "it waits",
    )
    taken = act(scene, scene.world.message(message)["thread_id"])
    assert taken.cancelled_sends == 1
    scene.world.channel.mix({})
    time.sleep(1.5)
    assert scene.world.channel.arrivals() == []
    assert scene.violations() == {}
