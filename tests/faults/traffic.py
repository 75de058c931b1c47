"""Customers who write through a provider, and people who take their conversations over."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from concurrent.futures import Future
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from engine.channels.base import Receipt
from engine.database.connection import Pool, open_pool, transaction
from engine.model import SwitchboardError
from engine.operator.audit import Operator
from engine.operator.takeover import release, take_over
from engine.outbound.receipts import apply_receipts

ANSWER_SECONDS = 10.0
_INSERT = """
INSERT INTO et_messages (tenant_id, channel, direction, text_content, delivery_status, provider_message_id,
                         raw_payload)
VALUES (1, 'simulator', 'inbound', %s, 'received', %s, %s) ON CONFLICT DO NOTHING"""


class Traffic:
    """Many customers on several connections; each waits for a commit before writing on, as a provider does."""

    def __init__(
        self, dsn: str, rng: random.Random, *, customers: int, per_second: float, writers: int = 4
    ) -> None:
        self._dsn = dsn
        self._rngs = [random.Random(rng.random()) for _ in range(writers)]
        self._customers = customers
        self._pause = writers / per_second
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.acknowledged: set[str] = set()
        """Provider ids whose insert was committed."""
        self.duplicates = 0
        """How often a message was brought once more."""
        self.backlog = 0
        """Messages not done yet; nobody writes while there are too many. Kept by the caller."""
        self._threads = [
            threading.Thread(target=self._write, args=(n,), name=f"writer {n}", daemon=True)
            for n in range(writers)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(30)

    def _write(self, writer: int) -> None:
        rng = self._rngs[writer]
        mine = range(writer, self._customers, len(self._rngs))
        numbers = dict.fromkeys(mine, 0)
        connection: psycopg.Connection[Any] | None = None
        while not self._stopping.wait(rng.expovariate(1 / self._pause)):
            if self.backlog > 10 * self._customers:
                continue
            customer = rng.choice(mine)
            numbers[customer] += 1
            connection = self._bring(connection, customer, numbers[customer], rng)
        if connection is not None:
            connection.close()

    def _bring(
        self, connection: psycopg.Connection[Any] | None, customer: int, number: int, rng: random.Random
    ) -> psycopg.Connection[Any] | None:
        """Insert until a commit is acknowledged, and now and then once more."""
        pid = f"p{customer}-{number}"
        payload = Jsonb({"from": f"c{customer}"})
        times = 2 if rng.random() < 0.1 else 1
        while times:
            try:
                if connection is None or connection.closed:
                    connection = psycopg.connect(self._dsn, autocommit=True)
                connection.execute(_INSERT, [f"question {pid}?", pid, payload])
            except psycopg.OperationalError:
                connection = None
                if self._stopping.wait(0.1):
                    return None
                continue
            times -= 1
            with self._lock:
                self.duplicates += pid in self.acknowledged
                self.acknowledged.add(pid)
        return connection


class People:
    """Operators who take threads over and give them back, and the receipts of the far end; a loop of its own."""

    def __init__(self, dsn: str, rng: random.Random, *, every_seconds: float, operators: int = 2) -> None:
        self._dsn = dsn
        self._rng = rng
        self._every = every_seconds * operators
        self._operators = operators
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="people", daemon=True)
        self._working: list[Future[None]] = []
        self._booking: Future[None] | None = None
        self._stopping = asyncio.Event()
        self._closing = asyncio.Event()
        self._receipts: asyncio.Queue[Receipt] = asyncio.Queue()
        self.takeovers = 0
        self.receipts = 0

    def start(self) -> None:
        self._thread.start()
        self._working = [
            asyncio.run_coroutine_threadsafe(self._operate(n), self._loop) for n in range(self._operators)
        ]
        self._booking = asyncio.run_coroutine_threadsafe(self._book(), self._loop)

    def stop(self) -> None:
        """Give back every thread that is held, and take over no more; receipts are still applied."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        for work in self._working:
            work.result(60)

    def close(self) -> None:
        """Apply the receipts that have come, and end. The far end has stopped before."""
        if self._booking is not None:
            self._loop.call_soon_threadsafe(self._closing.set)
            self._booking.result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def receipt(self, receipt: Receipt) -> None:
        """Half of the messages are confirmed by a receipt, after the far end has answered."""
        if (receipt.message_id or 0) % 2:
            self._loop.call_soon_threadsafe(self._receipts.put_nowait, receipt)

    async def _operate(self, number: int) -> None:
        operator = Operator(f"operator {number}", "tests")
        async with open_pool(self._dsn, size=1) as pool:
            while not await self._wait(self._rng.expovariate(1 / self._every)):
                with contextlib.suppress(psycopg.Error, OSError, SwitchboardError):
                    await self._hold(pool, operator)

    async def _hold(self, pool: Pool, operator: Operator) -> None:
        async with pool.connection() as connection:
            rows = await (
                await connection.execute(
                    "SELECT id FROM et_threads WHERE owner = 'ai' ORDER BY random() LIMIT 1"
                )
            ).fetchall()
        if not rows:
            return
        await take_over(pool, operator, rows[0]["id"])
        self.takeovers += 1
        await self._wait(self._rng.uniform(0.1, 1.5))
        await self._persist(pool, operator, rows[0]["id"])

    async def _persist(self, pool: Pool, operator: Operator, thread: int) -> None:
        """Hand a thread back, whatever the database does meanwhile."""
        answer_waiting = self._rng.random() < 0.5
        while True:
            try:
                await release(pool, operator, thread, answer_waiting=answer_waiting)
            except (psycopg.Error, OSError, SwitchboardError):
                await asyncio.sleep(0.2)
            else:
                return

    async def _book(self) -> None:
        """Apply receipts as they come, and those still waiting at the end."""
        async with open_pool(self._dsn, size=1) as pool:
            while not (self._closing.is_set() and self._receipts.empty()):
                try:
                    receipt = await asyncio.wait_for(self._receipts.get(), 0.1)
                except TimeoutError:
                    continue
                try:
                    async with transaction(pool) as connection:
                        await apply_receipts(connection, "simulator", [receipt])
                    self.receipts += 1
                except (psycopg.Error, OSError):
                    self._receipts.put_nowait(receipt)
                    await asyncio.sleep(0.1)

    async def _wait(self, seconds: float) -> bool:
        """Wait; True when everybody goes home."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()


def until_quiet(dsn: str, seconds: float) -> float | None:
    """Seconds until nothing is open any more; None when that takes longer than `seconds`."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if open_work(dsn) == 0:
            return time.monotonic() - began
        time.sleep(0.2)
    return None


def open_work(dsn: str) -> int:
    """Messages and sends that have not come to an end; 10,000 when the database cannot tell."""
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            row = connection.execute(
                """SELECT (SELECT count(*) FROM et_messages WHERE direction = 'inbound'
                              AND delivery_status IN ('received', 'inbound_processing'))
                        + (SELECT count(*) FROM et_outbound_queue
                            WHERE status IN ('queued', 'processing', 'retry_scheduled'))"""
            ).fetchone()
    except psycopg.OperationalError:
        return 10_000
    return int(row[0]) if row else 0
