"""What a lane puts into one statement."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from engine.database.connection import Connection, Lane, Pool


class NoPool:
    """Hands out nothing: these lanes call no database."""

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[None]:
        yield None


async def carried(rounds: Sequence[int], batch: int) -> list[int]:
    """The sizes of the batches when an item is submitted in each of these rounds of the loop."""
    sizes: list[int] = []

    async def run(connection: Connection, items: Sequence[int]) -> list[Any]:
        sizes.append(len(items))
        return list(items)

    lane: Lane[int, int] = Lane("test", cast(Pool, NoPool()), run, batch=batch)

    async def submit(after: int) -> int:
        for _ in range(after):
            await asyncio.sleep(0)
        return await lane.submit(after)

    serving = asyncio.create_task(lane.serve())
    try:
        assert await asyncio.gather(*map(submit, rounds)) == list(rounds)
    finally:
        serving.cancel()
    return sizes


async def test_what_comes_round_by_round_goes_together() -> None:
    assert await carried(range(20), batch=100) == [20]


async def test_a_batch_has_its_limit() -> None:
    assert await carried([0] * 250, batch=100) == [100, 100, 50]


async def test_a_lone_item_waits_for_nobody() -> None:
    assert await carried([0, 50], batch=100) == [1, 1]
