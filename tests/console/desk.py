"""An operator's desk in a test: who sits there, a clock that stands still, what the terminal gets."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from textual.pilot import Pilot

from console.app import SwitchboardApp
from console.clock import Clock
from console.session import Session
from engine.settings import load_settings
from tests.console.stage import Stage
from tests.support.conversations import ME, NOON

UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ue000-\uf8ff]")


class Still(Clock):
    """Stands still at `NOON`, whatever the database says."""

    def __init__(self, now: datetime = NOON) -> None:
        super().__init__(lambda: now, UTC)

    def sync(self, database_now: datetime) -> None:
        """Nothing."""


@pytest.fixture(autouse=True)
def me(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sits at the terminal."""
    monkeypatch.setattr("engine.operator.audit._system_user", lambda: ME)


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


class _Placed(Session):
    def _open_database(self) -> None:
        super()._open_database()
        self.place = "test"


def picture_of(dsn: str, folder: Path) -> SwitchboardApp:
    """A console whose every picture is the same: at `NOON`, on a database without a name."""
    settings = load_settings(http_enabled=False, data_dir=folder)
    settings = settings.model_copy(update={"database_url": SecretStr(dsn)})
    return SwitchboardApp(_Placed(lambda: settings, with_engine=False), clock=Still())


def after(*keys: str, until: str) -> Callable[[Pilot[int]], Awaitable[None]]:
    """What a picture is taken after: these keys, and `until` standing on the screen."""

    async def act(pilot: Pilot[int]) -> None:
        seen = Stage(pilot.app, pilot)  # type: ignore[arg-type]
        await seen.until(lambda: pilot.app.status.health is not None, "health")  # type: ignore[attr-defined]
        for key in keys:
            await seen.press(key)
            await pilot.pause(0.3)
        await seen.sees(until)
        await pilot.pause(0.5)

    return act
