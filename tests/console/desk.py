"""An operator's desk in a test: who sits there, a clock that stands still, what the terminal gets."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from textual.pilot import Pilot

from console.clock import Clock
from tests.console.stage import Stage
from tests.support.consoles import hold_still, settled
from tests.support.conversations import ME
from tests.support.rows import Connection

PICTURES = pytest.mark.parametrize(
    ("size", "colours"),
    [((80, 24), True), ((140, 40), True), ((200, 60), True), ((80, 24), False), ((140, 40), False)],
    ids=["80x24", "140x40", "200x60", "80x24-NO_COLOR", "140x40-NO_COLOR"],
)
"""A picture in every size, and without colours where there is least room and where there is some."""
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ue000-\uf8ff]")


class Still(Clock):
    """Stands still, whatever the database says."""

    def __init__(self, now: datetime) -> None:
        super().__init__(lambda: now, UTC)

    def sync(self, database_now: datetime) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def me(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sits at the terminal."""
    monkeypatch.setattr("engine.operator.audit._system_user", lambda: ME)


def database_now(rows: Connection) -> datetime:
    """This moment, as the database sees it."""
    row = rows.execute("SELECT now() AS now").fetchone()
    assert row is not None
    found: datetime = row["now"]
    return found.astimezone(UTC)


@pytest.fixture
def now(rows: Connection) -> datetime:
    """This moment, as the database sees it."""
    return database_now(rows)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is read depends on when or where the test runs."""
    hold_still(monkeypatch)
    monkeypatch.delenv("NO_COLOR", raising=False)


def assert_clean(seen: Stage) -> None:
    """Nothing of what the terminal is given drives it, hides, or reorders a line."""
    for strip in seen.app.screen._compositor.render_strips():
        for segment in strip:
            assert segment.control is None
            found = UNSAFE.search(segment.text)
            assert found is None, (found, segment.text)


async def bytes_written(seen: Stage, seconds: float) -> int:
    """How much the terminal is sent within that time."""
    driver: Any = seen.app._driver
    write, sent = driver.write, []
    driver.write = lambda data: (sent.append(data), write(data))
    try:
        await seen.pilot.pause(seconds)
    finally:
        driver.write = write
    return sum(len(data) for data in sent)


def after(*keys: str, until: str) -> Callable[[Pilot[int]], Awaitable[None]]:
    """What a picture is taken after: these keys, and `until` standing on the screen."""

    async def act(pilot: Pilot[int]) -> None:
        seen = Stage(pilot.app, pilot)  # type: ignore[arg-type]
        await seen.until(lambda: pilot.app.status.health is not None, "health")  # type: ignore[attr-defined]
        for key in keys:
            await seen.press(key)
            await settled(pilot, 1)
        await seen.sees(until)
        await standing(seen)

    return act


async def standing(seen: Stage) -> None:
    """Wait until nothing is being read and the screen has stood still for five looks."""
    await settled(seen.pilot, 5)
