"""Fault 32: a bot talks to a bot, and twenty engines race for the last cent. Caps hold."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from engine.database.connection import open_pool
from engine.inbound.claims import Claim, claim_turns, reserve_budget
from tests.faults.stage import Stage, stage

CEILING = Decimal("0.05")
ENGINES = 20


@pytest.fixture
def scene(dsn: str, tmp_path: Path) -> Iterator[Stage]:
    with stage(dsn, tmp_path) as whole:
        yield whole


@contextmanager
def echoing(scene: Stage) -> Iterator[None]:
    """A customer that answers every reply at once with what it was told."""
    stopping = threading.Event()

    def echo() -> None:
        seen = 0
        while not stopping.wait(0.02):
            for arrival in scene.world.channel.arrivals()[seen:]:
                seen += 1
                scene.world.insert(f"You said: {arrival.text} ({seen})", sender=arrival.to)

    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(10)


def test_a_bot_that_echoes_is_handed_to_a_person(scene: Stage) -> None:
    scene.launch(thread_replies_per_hour=6)
    scene.launch(thread_replies_per_hour=6)
    with echoing(scene):
        scene.world.insert("hello", sender="bot")
        thread = scene.until(
            lambda: scene.world.query("SELECT * FROM et_threads WHERE owner = 'human'"), "a person has it"
        )[0]
        time.sleep(1.0)
    assert len(scene.world.channel.arrivals()) == 6
    assert scene.world.llm.uniapi.total == 6, "no call is paid for that is not sent"
    last = scene.world.query(
        "SELECT * FROM et_messages WHERE thread_id = %s AND direction = 'inbound' ORDER BY id DESC LIMIT 1",
        thread["id"],
    )[0]
    assert (last["delivery_status"], last["reason"]) == ("inbound_human_takeover", "policy.loop_guard")
    scene.until_rest()
    assert scene.violations() == {}


def test_a_machine_that_repeats_itself_is_handed_to_a_person(scene: Stage) -> None:
    scene.launch()
    for _ in range(8):
        message = scene.world.insert("This mailbox is not monitored. Please visit our website.", sender="bot")
        row = scene.world.until_status(message, "inbound_ai_replied", "inbound_human_takeover")
        if row["delivery_status"] == "inbound_human_takeover":
            break
        scene.world.until_sent(message)
    assert row["reason"] == "policy.loop_guard"
    assert len(scene.world.channel.arrivals()) <= 3


def claimed(scene: Stage, number: int) -> list[Claim]:
    """As many threads, each claimed by an engine of its own."""
    for n in range(number):
        scene.world.insert("hello", sender=f"p{n}")

    async def claim() -> list[Claim]:
        async with open_pool(scene.world.dsn, size=1) as pool, pool.connection() as connection:
            found: list[Claim] = []
            for n in range(number):
                found += await claim_turns(
                    connection, engine=f"engine-{n}", threads=1, lease_seconds=60, burst=1
                )
            return found

    return asyncio.run(claim())


@pytest.mark.parametrize(("cap", "granted"), [("0.22", 4), ("0.05", 1), ("0.049", 0), ("9", ENGINES)])
def test_a_budget_race_of_twenty_engines_never_exceeds_the_cap(scene: Stage, cap: str, granted: int) -> None:
    claims = claimed(scene, ENGINES)
    assert len(claims) == ENGINES

    async def race() -> list[bool]:
        async with open_pool(scene.world.dsn, size=ENGINES) as pool:
            await pool.wait()
            answers = await asyncio.gather(
                *(reserve_budget(pool, claim, CEILING, Decimal(cap)) for claim in claims)
            )
            return [ok for ok, _ in answers]

    assert sum(asyncio.run(race())) == granted
    reserved = scene.world.one("SELECT coalesce(sum(reserved_usd), 0) AS usd FROM et_threads")["usd"]
    assert reserved == granted * CEILING <= Decimal(cap)


def test_engines_together_stay_within_the_daily_budget(scene: Stage) -> None:
    """Real turns in several processes: what is spent and what is set aside never exceed the cap."""
    scene.world.setting("daily_budget_usd", 0.16)
    scene.world.llm.uniapi.latency_seconds = 0.4
    messages = [scene.world.insert("hello", sender=f"p{n}") for n in range(40)]
    for _ in range(4):
        scene.launch(lease_seconds=10.0)
    most = Decimal(0)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        row = scene.world.one(
            "SELECT (SELECT coalesce(sum(reserved_usd), 0) FROM et_threads WHERE holder IS NOT NULL)"
            " + (SELECT coalesce(sum(cost_usd), 0) FROM et_usage_hourly) AS usd,"
            " (SELECT count(*) FROM et_messages WHERE delivery_status IN ('received', 'inbound_processing')) AS n"
        )
        most = max(most, row["usd"])
        if row["n"] == 0:
            break
    assert Decimal(0) < most <= Decimal("0.16")
    statuses = {scene.world.message(message)["delivery_status"] for message in messages}
    assert statuses == {"inbound_ai_replied", "inbound_human_takeover"}
    blocked = scene.world.query(
        "SELECT reason FROM et_messages WHERE delivery_status = 'inbound_human_takeover'"
    )
    assert {row["reason"] for row in blocked} == {"policy.budget"}
    scene.until_rest()
    assert scene.violations() == {}


def test_a_reservation_of_an_engine_that_died_is_given_back(scene: Stage) -> None:
    scene.world.setting("daily_budget_usd", 0.06)
    message = scene.world.insert("hello")
    engine = scene.launch("before LLM call")
    scene.until_dead(engine)
    assert scene.world.one("SELECT reserved_usd FROM et_threads")["reserved_usd"] == CEILING
    scene.launch()
    scene.world.until_sent(message)
    assert scene.world.one("SELECT reserved_usd FROM et_threads")["reserved_usd"] is None
