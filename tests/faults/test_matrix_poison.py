"""Fault 22: a text that kills whoever reads it is given up after five attempts, and harms no other for long."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.poison import POISON, die_of_poison, raise_at_poison
from tests.faults.stage import Stage, stage

MAX_ATTEMPTS = 5


@pytest.fixture
def scene(dsn: str, tmp_path: Path) -> Iterator[Stage]:
    with stage(dsn, tmp_path) as whole:
        yield whole


@contextmanager
def immortal(scene: Stage, engines: int = 1) -> Iterator[None]:
    """Engines that die of poison and are started again, as a service manager does."""
    stopping = threading.Event()

    def keep() -> None:
        while not stopping.is_set():
            engine = scene.launch(before=(die_of_poison,))
            while engine.alive and not stopping.wait(0.05):
                pass

    keepers = [threading.Thread(target=keep, daemon=True) for _ in range(engines)]
    for keeper in keepers:
        keeper.start()
    try:
        yield
    finally:
        stopping.set()
        for keeper in keepers:
            keeper.join(10)


def test_poison_is_given_up_after_five_attempts(scene: Stage) -> None:
    poison = scene.world.insert(f"please read: {POISON}", sender="mallory")
    with immortal(scene):
        row = scene.until(
            lambda: (m := scene.world.message(poison))["delivery_status"] == "inbound_error" and m, "given up"
        )
        assert row["reason"] == "attempts_exhausted"
        assert row["attempts"] == MAX_ATTEMPTS
        after = scene.world.insert("and me?", sender="mallory")
        scene.world.until_sent(after)
    assert scene.violations() == {}


def test_poison_in_a_burst_takes_only_itself_down(scene: Stage) -> None:
    """After the first death the messages of its burst are tried alone."""
    scene.world.quiet(0.3, 2)
    before = scene.world.insert("hello", sender="mallory")
    poison = scene.world.insert(POISON, sender="mallory")
    after = scene.world.insert("are you there?", sender="mallory")
    with immortal(scene):
        scene.until(lambda: scene.world.message(poison)["delivery_status"] == "inbound_error", "given up")
        for message in (before, after):
            scene.world.until_status(message, "inbound_ai_replied")
        scene.until_rest()
    assert scene.violations() == {}


def test_innocents_beside_poison_are_all_answered(scene: Stage) -> None:
    """They are claimed with it and die with it; from the third time on they come back one by one."""
    scene.world.llm.uniapi.latency_seconds = 0.5
    innocents = [scene.world.insert("hello", sender=f"p{n}") for n in range(4)]
    poison = scene.world.insert(POISON, sender="mallory")
    innocents += [scene.world.insert("hello", sender=f"p{n}") for n in range(4, 8)]
    with immortal(scene, engines=2):
        scene.until(
            lambda: scene.world.message(poison)["delivery_status"] == "inbound_error", "given up", seconds=80
        )
        scene.until_rest()
    assert {scene.world.message(i)["delivery_status"] for i in innocents} == {"inbound_ai_replied"}
    assert scene.violations() == {}


def test_an_exception_nobody_expects_is_an_error_of_that_message_alone(scene: Stage) -> None:
    """Fault 8: no attempt is wasted on what will not pass, and the engine lives."""
    poison = scene.world.insert(POISON, sender="mallory")
    innocent = scene.world.insert("hello")
    engine = scene.launch(before=(raise_at_poison,))
    row = scene.until(
        lambda: (m := scene.world.message(poison))["delivery_status"] == "inbound_error" and m, "an error"
    )
    assert row["reason"] == "runtime_error"
    assert "RecursionError" in row["last_error"]
    scene.world.until_sent(innocent)
    assert engine.alive
    assert POISON not in scene.log, "customers' texts stay out of the log"
    assert scene.violations() == {}
