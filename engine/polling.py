"""Polling: the channels that are asked for news, by one engine at a time.

An advisory lock of the account's name, held on a connection of its own, decides which engine polls; when that
engine dies, its connection ends and another takes over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg

from engine.arrivals import poll_cursor, store_arrivals
from engine.channels.base import PollError, PollingChannel
from engine.database.connection import Connection, DatabaseError, Pool, connect
from engine.logs import get_logger
from engine.model import Blocker

log = get_logger(__name__)
POLL_SECONDS = 30.0
TRY_LOCK_SECONDS = 5.0
AFTER_TROUBLE_SECONDS = 3.0
AFTER_NOTHING_SECONDS = 0.5
"""Before the next poll when one brought nothing without waiting for it, as simple servers do."""


class Poller:
    """Polls one account while this engine holds its lock and nothing blocks."""

    def __init__(self, channel: PollingChannel, pool: Pool, dsn: str, *, blocked: Callable[[], bool]) -> None:
        self._channel, self._pool, self._dsn, self._blocked = channel, pool, dsn, blocked
        self._name = f"{channel.name}/{channel.account}"
        self.blocker: Blocker | None = None
        """Why nothing comes in, where a person must act."""

    async def serve(self) -> None:
        """Poll until cancelled."""
        while True:
            try:
                async with await connect(self._dsn, f"switchboard poll {self._name}") as lock:
                    if await self._locked(lock):
                        await self._poll_while_locked(lock)
            except (DatabaseError, psycopg.Error, OSError) as error:
                log.warning("poll.database", channel=self._name, error=str(error))
            finally:
                self.blocker = None  # whoever polls now knows better
            await asyncio.sleep(TRY_LOCK_SECONDS)

    async def _locked(self, lock: Connection) -> bool:
        cursor = await lock.execute(
            "SELECT pg_try_advisory_lock(hashtextextended(%s, 0)) AS ok", [f"poll {self._name}"]
        )
        row = await cursor.fetchone()
        return bool(row and row["ok"])

    async def _poll_while_locked(self, lock: Connection) -> None:
        while True:
            if self._blocked():
                await asyncio.sleep(AFTER_TROUBLE_SECONDS)
                continue
            offset = await poll_cursor(
                lock, self._channel
            )  # raises once the lock is gone with its connection
            asked = asyncio.get_running_loop().time()
            try:
                polled = await self._channel.poll(offset, timeout=POLL_SECONDS)
            except PollError as error:
                self.blocker = error.blocker
                log.warning("poll.failed", channel=self._name, error=error.message)
                await asyncio.sleep(max(error.retry_after or 0.0, AFTER_TROUBLE_SECONDS))
                continue
            self.blocker = None
            if polled.next_offset is not None and polled.next_offset != offset:
                await store_arrivals(self._pool, self._channel, polled.parsed, next_offset=polled.next_offset)
            elif asyncio.get_running_loop().time() - asked < AFTER_NOTHING_SECONDS:
                await asyncio.sleep(AFTER_NOTHING_SECONDS)
