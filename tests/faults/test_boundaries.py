"""Fault 2: an engine dies at each boundary of the trip; the next one brings every message to its end.

Fault 3, exactly placed: an engine freezes there, another takes its work over, and it wakes as a zombie.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.faults.failpoints import EXIT_CODE, FAILPOINTS, FREEZE
from tests.faults.stage import Stage, stage
from tests.support.rows import connect

#: Between the mark and the record of a send: what left then, nobody knows. A fresh reply is written with its mark.
MAY_HAVE_LEFT = {
    "during T2 complete",
    "after T2 complete",
    "during T4 mark",
    "after T4 mark",
    "before HTTP send",
    "after HTTP send",
    "before T5 record",
    "during T5 record",
}
#: Of those, where the customer has it already.
HAS_ARRIVED = {"after HTTP send", "before T5 record", "during T5 record", "after T5 record"}


@pytest.fixture
def scene(dsn: str, tmp_path: Path) -> Iterator[Stage]:
    with stage(dsn, tmp_path) as whole:
        yield whole


def outcomes(scene: Stage) -> list[str]:
    rows = scene.world.query("SELECT status, outcome FROM et_outbound_queue")
    return sorted(f"{row['status']} {row['outcome']}" for row in rows)


@pytest.mark.parametrize("failpoint", [point for point in FAILPOINTS if "extend" not in point])
def test_a_death_at_any_boundary_loses_and_doubles_nothing(scene: Stage, failpoint: str) -> None:
    ids = [scene.world.insert("hello"), scene.world.insert("are you open?")]
    assert scene.until_dead(scene.launch(failpoint)) == EXIT_CODE, scene.log
    scene.launch()
    scene.until_rest()
    assert scene.violations() == {}
    assert {scene.world.message(i)["delivery_status"] for i in ids} == {"inbound_ai_replied"}
    unknown = outcomes(scene).count("failed unknown")
    assert unknown <= (failpoint in MAY_HAVE_LEFT)
    if failpoint in HAS_ARRIVED or not unknown:
        assert len(scene.world.channel.arrivals()) == len(ids)


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_death_while_a_turn_takes_in_more_messages(scene: Stage, when: str) -> None:
    scene.world.quiet(0.1, 5)
    scene.world.llm.uniapi.latency_seconds = 1.0
    first = scene.world.insert("I would like to order")
    engine = scene.launch(f"{when} T1 extend")
    scene.until(lambda: scene.world.llm.uniapi.total, "the model thinks")
    second = scene.world.insert("two pizzas please")
    assert scene.until_dead(engine) == EXIT_CODE, scene.log
    scene.world.llm.uniapi.latency_seconds = 0.0
    scene.launch()
    scene.until_rest()
    assert scene.violations() == {}
    assert {scene.world.message(i)["delivery_status"] for i in (first, second)} == {"inbound_ai_replied"}


@pytest.mark.parametrize("failpoint", ["after T1 claim", "after LLM call", "before T2 complete"])
def test_a_zombie_with_an_answer_in_hand_writes_nothing(scene: Stage, failpoint: str) -> None:
    message = scene.world.insert("hello")
    zombie = scene.launch(FREEZE + failpoint)
    scene.until_frozen(zombie)
    scene.launch()
    reply = scene.world.until_sent(message)
    zombie.signal(signal.SIGCONT)
    scene.until(
        lambda: scene.world.query("SELECT FROM et_turns WHERE outcome = 'lost_claim'"), "the zombie gave up"
    )
    assert scene.world.reply_to(message) == reply
    assert scene.violations() == {}


def test_a_zombie_that_has_claimed_a_send_does_not_start_it(scene: Stage) -> None:
    message = scene.world.insert("hello")
    zombie = scene.launch(FREEZE + "after T3 claim send")
    scene.until_frozen(zombie)
    scene.launch()
    scene.world.until_sent(message)
    zombie.signal(signal.SIGCONT)
    later = scene.world.insert("are you still there?")
    scene.world.until_sent(later)
    assert scene.violations() == {}


def test_a_zombie_that_has_marked_a_send_does_not_let_it_leave_late(scene: Stage) -> None:
    """Its outcome was given up as unknown, the thread went on, a person may have taken over: too late to send."""
    first = scene.world.insert("one")
    zombie = scene.launch(FREEZE + "after T4 mark")
    scene.until_frozen(zombie)
    scene.launch()
    scene.until(lambda: outcomes(scene) == ["failed unknown"], "the send is given up")
    second = scene.world.insert("two")
    scene.world.until_sent(second)
    zombie.signal(signal.SIGCONT)
    scene.world.until_sent(scene.world.insert("three", sender="bert"))
    scene.until(lambda: "send.too_late" in scene.log or len(scene.world.channel.arrivals()) > 2, "it woke")
    assert scene.violations() == {}
    assert scene.world.reply_to(first)["id"] not in scene.world.channel.received()  # type: ignore[index]


def test_a_zombie_that_has_sent_may_still_say_so(scene: Stage) -> None:
    """A late answer settles an outcome that was given up as unknown; nothing is sent again."""
    message = scene.world.insert("hello")
    zombie = scene.launch(FREEZE + "before T5 record")
    scene.until_frozen(zombie)
    scene.launch()
    scene.until(lambda: outcomes(scene) == ["failed unknown"], "the send is given up")
    zombie.signal(signal.SIGCONT)
    scene.until(lambda: outcomes(scene) == ["sent confirmed"], "the zombie settled it")
    assert len(scene.world.channel.arrivals()) == 1
    assert scene.violations() == {}
    assert scene.world.reply_to(message)["delivery_status"] == "sent"  # type: ignore[index]


def _provider(dsn: str, *, commit: bool) -> None:
    """A provider that dies before it has heard of its commit, or before it commits."""
    with connect(dsn) as connection:
        connection.execute("BEGIN")
        connection.execute(
            """INSERT INTO et_messages (tenant_id, channel, direction, text_content, delivery_status,
                                        provider_message_id, raw_payload)
               VALUES (1, 'simulator', 'inbound', 'hello', 'received', 'p1', '{"from": "anna"}')"""
        )
        if commit:
            connection.execute("COMMIT")
        os._exit(EXIT_CODE)


@pytest.mark.parametrize("commit", [False, True], ids=["before its commit", "after its commit"])
def test_a_provider_that_dies_at_intake_brings_its_message_again(scene: Stage, commit: bool) -> None:
    """T0: what was not acknowledged is brought once more, and is one message either way."""
    process = multiprocessing.get_context("spawn").Process(
        target=_provider, args=(scene.world.dsn,), kwargs={"commit": commit}
    )
    process.start()
    process.join(30)
    assert process.exitcode == EXIT_CODE
    with connect(scene.world.dsn) as connection:
        again = connection.execute(
            """INSERT INTO et_messages (tenant_id, channel, direction, text_content, delivery_status,
                                        provider_message_id, raw_payload)
               VALUES (1, 'simulator', 'inbound', 'hello', 'received', 'p1', '{"from": "anna"}')
               ON CONFLICT DO NOTHING"""
        )
        assert again.rowcount == (0 if commit else 1)
    scene.launch()
    scene.until_rest()
    assert scene.violations() == {}
    assert len(scene.world.channel.arrivals()) == 1


def test_a_statement_that_fails_leaves_no_trace(scene: Stage) -> None:
    """The insert, its thread and its wake-up are one transaction."""
    with pytest.raises(psycopg.errors.CheckViolation):
        scene.world.query(
            "INSERT INTO et_messages (tenant_id, channel, direction, text_content, delivery_status, raw_payload)"
            " VALUES (1, 'simulator', 'inbound', 'x', 'inbound_processing', '{\"from\": \"a\"}') RETURNING id"
        )
    assert scene.world.query("SELECT FROM et_threads") == []
