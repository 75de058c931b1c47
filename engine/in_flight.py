"""What an engine is at: a task for each thing that was claimed, and what is left of them when it stops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Ended = Callable[[Item, BaseException | None], None]
"""Hears of an item whose task is over, and of the exception that ended it, if one did."""


class InFlight(Generic[Item]):
    """Tasks under way, each with the item it is at."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], Item] = {}
        self.claiming = asyncio.Lock()
        """Held from a claim until its tasks have begun: whoever stops waits for it, or they would be left behind."""

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def items(self) -> list[Item]:
        return list(self._tasks.values())

    def begin(self, item: Item, work: Coroutine[Any, Any, None], ended: Ended[Item]) -> None:
        """Have `work` done for an item."""
        task = asyncio.create_task(work)
        self._tasks[task] = item
        task.add_done_callback(partial(self._over, ended))

    def _over(self, ended: Ended[Item], task: asyncio.Task[None]) -> None:
        ended(self._tasks.pop(task), None if task.cancelled() else task.exception())

    async def wind_down(self, seconds: float) -> list[Item]:
        """Let everything end, for so many seconds at most; what is left is cancelled and comes back."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async with self.claiming:
                    pass
                while self._tasks:
                    await asyncio.wait(list(self._tasks))
        left = dict(self._tasks)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        return list(left.values())
