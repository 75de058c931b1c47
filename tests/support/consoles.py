"""The console on a seeded database, at a moment that stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import textual._wait
from textual.pilot import Pilot

import console.app
import engine.observe.feed
from console.app import SwitchboardApp
from console.clock import Clock
from console.session import Session
from engine.observe.health import SystemHealth
from engine.settings import Settings
from tests.support.seeder import FROZEN

PATIENCE = 15.0
"""Seconds; two slow cores do in them what takes one tenth of a second elsewhere."""
LOOK_SECONDS = 0.06
WATCHING = ("pulse", "poll", "dialog", "form")
"""Groups of workers that run as long as what they show."""


class StandingClock(Clock):
    """Shows `FROZEN`, whatever the database says."""

    def __init__(self) -> None:
        super().__init__(lambda: FROZEN, UTC)

    def sync(self, database_now: datetime) -> None:
        """Stands."""


def make_app(
    dsn: str, folder: Path, *, read_only: bool = False, frozen: bool = False, **more: Any
) -> SwitchboardApp:
    """A console attached to a database."""
    settings = Settings(database_url=as_url(dsn), data_dir=folder)
    session = Session(lambda: settings, with_engine=False, read_only=read_only)
    clock = StandingClock() if frozen else None
    return SwitchboardApp(session, clock=clock, **more)


def as_url(dsn: str) -> Any:
    """A libpq conninfo as the URL that settings take."""
    from urllib.parse import quote

    from psycopg.conninfo import conninfo_to_dict
    from pydantic import SecretStr

    parts = conninfo_to_dict(dsn)
    return SecretStr(f"postgresql://{parts['user']}@/{parts['dbname']}?host={quote(str(parts['host']))}")


def hold_still(monkeypatch: Any) -> None:
    """Nothing that is read depends on when or where the test runs."""
    read = console.app._health

    async def still(pool: Any) -> SystemHealth:
        health = await read(pool)
        health.checked_at = FROZEN
        for queue in health.queues:
            queue.oldest_age_seconds = 75.0 if queue.count > queue.held else None
            queue.held_oldest_age_seconds = 75.0 if queue.held else None
        health.warnings = [w for w in health.warnings if w.code != "inbound.waiting"]
        return health

    monkeypatch.setattr(console.app, "_health", still)
    monkeypatch.setattr("engine.database.handle.where", lambda dsn: "switchboard at localhost:5432")


def make_quick(monkeypatch: Any) -> None:
    """What is changed is looked at sooner, and keys wait less until the program is idle."""
    monkeypatch.setattr(engine.observe.feed, "CALM_SECONDS", 0.1)
    monkeypatch.setattr(textual._wait, "SLEEP_GRANULARITY", 1 / 100)
    monkeypatch.setattr(textual._wait, "SLEEP_IDLE", 1 / 2000)


async def settled(pilot: Pilot[Any], looks: int) -> None:
    """Wait until nothing is read or awaited, and the screen has stayed as it is, for so many looks in a row."""
    alike, before = 0, ""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while alike < looks:
        assert asyncio.get_running_loop().time() < deadline, f"the screen never stands still:\n{before}"
        await pilot.pause(LOOK_SECONDS)
        now = screen_text(pilot.app)
        alike, before = (alike + 1 if now == before and _at_rest(pilot.app) else 0), now


def _at_rest(app: Any) -> bool:
    """No worker runs but those that watch, and none of these has a connection in its hand."""
    busy = [worker for worker in app.workers if worker.is_running and worker.group not in WATCHING]
    pool = app.session.feed.pool.get_stats() if app.session.feed is not None else {}
    return not busy and pool.get("pool_available") == pool.get("pool_size")


async def until(pilot: Pilot[Any], condition: Callable[[], object], what: str) -> None:
    """Wait until something holds on the screen."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{what}; the screen:\n{screen_text(pilot.app)}"
        await pilot.pause(0.05)


async def shows(pilot: Pilot[Any], text: str) -> None:
    """Wait until the screen shows a text."""
    await until(pilot, lambda: text in screen_text(pilot.app), f"{text!r} was not shown")


def screen_text(app: Any) -> str:
    """What is on the screen, line by line."""
    strips = app.screen._compositor.render_strips(app.size)
    return "\n".join(strip.text for strip in strips)
