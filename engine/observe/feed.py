"""What keeps a pane live: a poll at an interval, woken early by NOTIFY.

One small pool and one LISTEN connection for a whole console. A flood of notifications costs no more than a
poll every `CALM_SECONDS`; where nobody has written since the last look, it is not repeated. A database that
went away is told as trouble, and found again by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests

from engine.database.connection import DatabaseError, Pool, connect, fetch, notices, open_pool
from engine.database.handle import Database
from engine.text import one_line

__all__ = ["Beat", "Database", "DatabaseError", "Feed", "Pool"]

CHANNELS = ("et_inbound", "et_outbound", "et_settings")
POOL_SIZE = 3
EVERY_SECONDS = 1.0
CALM_SECONDS = 0.9
"""Looks are at least this far apart, however often they are woken."""
AGAIN_SECONDS = 1.0
"""Between two tries to reach a database that went away."""
SNAPSHOT_SECONDS = 1.0
STALE_SECONDS = 5.0
"""A look this old is repeated though nobody has written: some of what it found changes with time alone."""

View = TypeVar("View")


@dataclass(frozen=True, slots=True)
class Beat(Generic[View]):
    """What a pane shows next: a view, or why there is none."""

    view: View | None
    trouble: str | None = None


class Feed:
    """The database as one console reads it, in the console's own event loop."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        """Holds the password."""
        self.pool: Pool = open_pool(dsn, size=POOL_SIZE, application="switchboard console")
        self.listening = False
        self._ears: set[asyncio.Event] = set()
        self._running = asyncio.Event()
        self._running.set()
        self._listener: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start; returns at once, connections come when they can."""
        await self.pool.open(wait=False)
        self._listener = asyncio.create_task(self._listen(), name="console listen")

    async def close(self) -> None:
        """Let go of every connection."""
        if self._listener is not None:
            self._listener.cancel()
            with suppress(asyncio.CancelledError):
                await self._listener
        await self.pool.close(timeout=1)

    @property
    def paused(self) -> bool:
        return not self._running.is_set()

    def pause(self, on: bool) -> None:
        """Hold every watch still, or let them go on at once."""
        if on:
            self._running.clear()
        else:
            self._running.set()
            self.wake()

    def wake(self) -> None:
        """Have every watch look now: something was changed from here."""
        for ear in self._ears:
            ear.set()

    async def watch(
        self, load: Callable[[Pool], Awaitable[View]], *, every: float = EVERY_SECONDS
    ) -> AsyncIterator[Beat[View]]:
        """What `load` returns, whenever it differs from the last time; trouble likewise.

        Looks every `every` seconds, unless nobody has written since, and when woken. Ends only when cancelled.
        """
        loop = asyncio.get_running_loop()
        ear = asyncio.Event()
        self._ears.add(ear)
        shown: Beat[View] | None = None
        beat: Beat[View] = Beat(None)
        known: str | None = None
        looked = float("-inf")
        try:
            while True:
                await self._running.wait()
                woken = ear.is_set()
                ear.clear()
                begun = loop.time()
                snapshot = await self._snapshot()
                if woken or snapshot is None or snapshot != known or begun - looked >= STALE_SECONDS:
                    looked = begun
                    beat = await self._look(load)
                    known = snapshot if beat.trouble is None else None
                    if beat != shown:
                        shown = beat
                        yield beat
                with suppress(TimeoutError):
                    async with asyncio.timeout(every if beat.trouble is None else AGAIN_SECONDS):
                        await ear.wait()
                await asyncio.sleep(max(0.0, begun + CALM_SECONDS - loop.time()))
        finally:
            self._ears.discard(ear)

    async def _look(self, load: Callable[[Pool], Awaitable[View]]) -> Beat[View]:
        try:
            return Beat(await load(self.pool))
        except (PoolTimeout, TooManyRequests):
            return Beat(None, "The database gives no connection; trying again.")
        except (psycopg.Error, OSError) as error:
            said = one_line(str(error).strip() or type(error).__name__, 200)
            return Beat(None, f"The database says: {said}")

    async def _snapshot(self) -> str | None:
        """What is committed by now: the same text again means that nobody has written in between.

        None when it was not told in time. A query on a dead connection cannot be cancelled at once, so it is
        left behind and not waited for.
        """
        asking = asyncio.create_task(self._ask_snapshot())
        try:
            done, _ = await asyncio.wait({asking}, timeout=SNAPSHOT_SECONDS)
        finally:
            asking.cancel()
            asking.add_done_callback(lambda late: late.cancelled() or late.exception())
        return asking.result() if done and asking.exception() is None else None

    async def _ask_snapshot(self) -> str:
        async with self.pool.connection(timeout=SNAPSHOT_SECONDS) as connection:
            return str((await fetch(connection, "snapshot"))[0]["snapshot"])

    async def _listen(self) -> None:
        """Wake the watches on every notification, a whole batch of them at once."""
        while True:
            try:
                async with await connect(self.dsn, "switchboard console listen") as connection:
                    for channel in CHANNELS:
                        await connection.execute(f"LISTEN {channel}".encode())
                    self.listening = True
                    self.wake()
                    while True:
                        await notices(connection)
                        self.wake()
                        await asyncio.sleep(CALM_SECONDS)
            except (DatabaseError, psycopg.Error, OSError):
                if self.listening:
                    self.wake()
            finally:
                self.listening = False
            await asyncio.sleep(AGAIN_SECONDS)
