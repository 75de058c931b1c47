"""The console on a test's database, driven by keys; what stands on its screen as text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr
from textual.pilot import Pilot

from console.app import SwitchboardApp
from console.clock import Clock
from console.session import Session
from engine.settings import Settings, load_settings

PATIENCE = 15.0


class Stage:
    """A console under test."""

    def __init__(self, app: SwitchboardApp, pilot: Pilot[int]) -> None:
        self.app, self.pilot = app, pilot

    @property
    def text(self) -> str:
        """The whole screen, a line a row."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips)

    @property
    def toasts(self) -> list[str]:
        return [str(note.message) for note in self.app._notifications]

    async def press(self, *keys: str) -> None:
        for key in keys:
            await self.pilot.press(key)
        await self.pilot.pause()

    async def write(self, text: str) -> None:
        """Type into what has the focus."""
        names = {" ": "space", "\n": "enter"}
        await self.press(*(names.get(character, character) for character in text))

    async def until(self, condition: Callable[[], Any], what: str = "") -> Any:
        """The condition's value once it is true."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while asyncio.get_running_loop().time() < deadline:
            if value := condition():
                return value
            await self.pilot.pause(0.05)
        raise AssertionError(f"not within {PATIENCE} s: {what}\n{self.text}\ntoasts: {self.toasts}")

    async def sees(self, *words: str) -> None:
        """Wait until all of `words` stand on the screen."""
        await self.until(lambda: all(word in self.text for word in words), f"{words} on the screen")

    async def hears(self, words: str) -> None:
        """Wait for a toast with `words`."""
        await self.until(lambda: any(words in toast for toast in self.toasts), f"a toast with {words!r}")


@asynccontextmanager
async def stage(
    dsn: str,
    size: tuple[int, int] = (140, 40),
    *,
    read_only: bool = False,
    low_bandwidth: bool = False,
    settings: Settings | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Stage]:
    """A console attached to `dsn`, connected."""
    chosen = settings or load_settings(http_enabled=False)
    chosen = chosen.model_copy(update={"database_url": SecretStr(dsn)})
    session = Session(lambda: chosen, with_engine=False, read_only=read_only)
    app = SwitchboardApp(session, clock=clock, low_bandwidth=low_bandwidth)
    async with app.run_test(size=size, notifications=True) as pilot:
        seen = Stage(app, pilot)
        await seen.until(lambda: app.status.health is not None, "health")
        yield seen
