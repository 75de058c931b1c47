"""Faults 28 and 29 on whole trips: the channel's and the models' far ends do all they can, many customers at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.demo.channel_far_end import Conduct
from tests.faults.stage import Stage, stage

#: Sends the far end took without a readable answer: nobody can tell, so nobody sends them again.
UNREADABLE = {Conduct.HANG, Conduct.RESET, Conduct.TRUNCATED, Conduct.GARBAGE, Conduct.ERROR}


@pytest.fixture
def scene(dsn: str, tmp_path: Path) -> Iterator[Stage]:
    with stage(dsn, tmp_path) as whole:
        yield whole


def test_every_conduct_of_the_channel_at_once(scene: Stage) -> None:
    """Fault 28: each outcome is told as it is, and nothing is sent twice."""
    mixed = [conduct for conduct in Conduct if conduct not in (Conduct.OK, Conduct.LOCKED_OUT)]
    scene.world.channel.mix(dict.fromkeys(mixed, 0.9 / len(mixed)))
    scene.world.channel.retry_after = 0.2
    scene.world.channel.slow_seconds = 0.3
    for _ in range(2):
        scene.launch(send_max_attempts=20, retry_cap_seconds=0.5)
    for n in range(120):
        scene.world.insert("hello", sender=f"p{n % 40}")
    scene.until_rest()
    assert scene.violations() == {}
    unreadable = {a.message_id for a in scene.world.channel.arrivals() if a.conduct in UNREADABLE}
    rows = scene.world.query("SELECT message_id, last_error FROM et_outbound_queue WHERE outcome = 'unknown'")
    assert {row["message_id"] for row in rows} == unreadable, rows
    refused = scene.world.query("SELECT last_error FROM et_outbound_queue WHERE outcome = 'rejected'")
    assert refused
    assert all(row["last_error"] for row in refused)


def test_a_far_end_that_is_gone_keeps_everything_waiting(scene: Stage) -> None:
    """Fault 28: connections refused for a while; nothing was sent, so all of it is sent later."""
    scene.launch(send_max_attempts=50, retry_cap_seconds=0.5)
    scene.world.until_sent(scene.world.insert("before"))
    scene.world.channel.refuse_connections()
    asked = [scene.world.insert("hello", sender=f"p{n}") for n in range(10)]
    for message in asked:
        scene.world.until_status(message, "inbound_ai_replied")
    time.sleep(1.0)
    assert len(scene.world.channel.arrivals()) == 1
    scene.world.channel.accept_connections()
    scene.until_rest()
    assert len(scene.world.channel.arrivals()) == 11
    assert scene.violations() == {}


@pytest.mark.parametrize(
    "mode", ["429", "429-money", "401", "503", "reset", "truncated", "html", "huge", "empty"]
)
def test_the_fallback_answers_everybody(scene: Stage, mode: str) -> None:
    """Fault 29: the first provider fails in one way for good; every customer gets one answer, from the other."""
    scene.world.llm.uniapi.mode = mode
    engine = scene.launch()
    asked = [scene.world.insert("hello", sender=f"p{n}") for n in range(30)]
    scene.until_rest()
    assert {scene.world.message(message)["delivery_status"] for message in asked} == {"inbound_ai_replied"}
    providers = scene.world.query("SELECT DISTINCT llm_provider AS name FROM et_messages WHERE author = 'ai'")
    assert [row["name"] for row in providers] == ["zai"]
    assert engine.alive
    assert scene.violations() == {}


def test_nobody_answers_and_then_somebody_does(scene: Stage) -> None:
    """Fault 29: both out of money; messages wait without a storm of calls, and are answered when it is back."""
    scene.world.llm.uniapi.mode = scene.world.llm.zai.mode = "429-money"
    scene.launch()
    asked = [scene.world.insert("hello", sender=f"p{n}") for n in range(20)]
    time.sleep(4.0)
    calls = scene.world.llm.uniapi.total + scene.world.llm.zai.total
    assert calls <= 60, "a retry storm"
    assert {scene.world.message(message)["delivery_status"] for message in asked} <= {
        "received",
        "inbound_processing",
    }
    scene.world.llm.uniapi.mode = scene.world.llm.zai.mode = "ok"
    scene.launch()  # its circuits are closed: the other one asks again in its own time
    scene.until_rest()
    assert {scene.world.message(message)["delivery_status"] for message in asked} == {"inbound_ai_replied"}
    assert scene.violations() == {}
