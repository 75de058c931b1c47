"""Carries a what-if out: a few runs at once, each recorded as it ends, until nothing waits or somebody pauses it.

No transaction is open while a model is asked; what is claimed and not recorded is claimed again after its lease.
"""

from __future__ import annotations

import asyncio

from engine.database.connection import Pool, Row
from engine.model import SwitchboardError
from engine.operator.audit import Operator, acting, audit, rows
from engine.operator.bulk import Progress
from engine.operator.dry_run import record_run
from engine.operator.rehearsal import OutOfMoney, Rehearsed, Runner, rehearsal
from engine.operator.what_if import FAILED, TASK, WhatIf, move, read, variant_of
from engine.settings import Settings

AT_ONCE = 4
"""Runs under way at the same time; the engine's own turns need the providers too."""
LEASE_SECONDS = 300
"""After this long without a result, another program may run an item again."""
FAILURES_IN_A_ROW = 8
"""After so many without an answer it pauses: the providers are down, or the version cannot be used."""


async def run(
    pool: Pool,
    operator: Operator,
    settings: Settings,
    what_if: WhatIf,
    *,
    simulated: bool = False,
    progress: Progress | None = None,
) -> WhatIf:
    """`carry_out` on the providers of `settings`. Raises RoutingError when the routing cannot be used, too."""
    operator.may_act()
    variant = await variant_of(pool, what_if.id)
    async with rehearsal(pool, settings, variant=variant, simulated=simulated) as runner:
        return await carry_out(pool, operator, runner, what_if.id, progress=progress)


async def carry_out(
    pool: Pool, operator: Operator, runner: Runner, what_if_id: int, *, progress: Progress | None = None
) -> WhatIf:
    """Run what waits, a few at once, until nothing waits or it is paused or cancelled, by whomever.

    When this is cancelled it pauses, and ends once the calls under way are recorded. `runner` must try the
    what-if's version. Raises ReadOnly, NotFound, and what is not a run's own trouble.
    """
    operator.may_act()
    work = _Work(pool, operator, runner, await read(pool, what_if_id), progress)
    lanes = [asyncio.create_task(work.lane()) for _ in range(AT_ONCE)]
    try:
        await asyncio.wait(lanes)
    except asyncio.CancelledError:
        await work.pause("It was interrupted.")
        await asyncio.wait(lanes)
        raise
    for lane in lanes:
        if error := lane.exception():
            raise error
    await _finish(pool, what_if_id)
    return await read(pool, what_if_id)


class _Work:
    """One what-if being carried out by this program."""

    def __init__(
        self, pool: Pool, operator: Operator, runner: Runner, what_if: WhatIf, progress: Progress | None
    ) -> None:
        self._pool, self._operator, self._runner, self._progress = pool, operator, runner, progress
        self._id, self._done, self._total = what_if.id, what_if.done, what_if.total
        self._failures = 0

    async def lane(self) -> None:
        try:
            while (item := await self._claim()) is not None:
                await self._run(item)
                if self._failures >= FAILURES_IN_A_ROW:
                    await self.pause(f"{self._failures} runs in a row got no answer.")
        except BaseException:
            await self.pause("It was broken off by an error.")
            raise

    async def pause(self, why: str) -> None:
        async with acting(self._pool, self._operator) as connection:
            if await move(connection, self._id, "paused", why):
                await audit(
                    connection,
                    self._operator,
                    "what_if.paused",
                    f"what_if:{self._id}",
                    "running",
                    "paused",
                    why,
                )

    async def _claim(self) -> Row | None:
        async with self._pool.connection() as connection:
            found = await rows(connection, _CLAIM, LEASE_SECONDS, self._id)
        return found[0] if found else None

    async def _run(self, item: Row) -> None:
        try:
            rehearsed = await self._runner.run(item["message_id"])
        except OutOfMoney as error:
            await self.pause(str(error))
            async with self._pool.connection() as connection:
                await rows(connection, _GIVE_BACK, self._id, item["message_id"], item["claim_token"])
            return
        except SwitchboardError as error:
            async with self._pool.connection() as connection:
                await rows(connection, _END, None, None, None, str(error), *self._key(item))
        else:
            await self._keep(item, rehearsed)
            self._failures = self._failures + 1 if rehearsed.outcome in FAILED else 0
        self._done += 1
        if self._progress:
            self._progress(self._done, self._total)

    async def _keep(self, item: Row, rehearsed: Rehearsed) -> None:
        """What was paid for is recorded even when another program has run the item meanwhile."""
        async with acting(self._pool, self._operator) as connection:
            turn = await record_run(connection, rehearsed, TASK)
            outcome = str(rehearsed.outcome)
            await rows(connection, _END, turn["id"], turn["replay_of"], outcome, None, *self._key(item))

    def _key(self, item: Row) -> tuple[int, int, int]:
        return self._id, item["message_id"], item["claim_token"]


async def _finish(pool: Pool, what_if_id: int) -> None:
    async with pool.connection() as connection:
        await rows(
            connection,
            """UPDATE et_what_ifs SET state = 'done', finished_at = now()
                WHERE id = %s AND state = 'running'
                  AND NOT EXISTS (SELECT FROM et_what_if_items WHERE what_if_id = %s
                                     AND outcome IS NULL AND problem IS NULL)""",
            what_if_id,
            what_if_id,
        )


_CLAIM = """
UPDATE et_what_if_items i
   SET claim_token = i.claim_token + 1, lease_until = now() + make_interval(secs => %s)
  FROM (SELECT n.what_if_id, n.message_id
          FROM et_what_if_items n JOIN et_what_ifs w ON w.id = n.what_if_id AND w.state = 'running'
         WHERE n.what_if_id = %s AND n.outcome IS NULL AND n.problem IS NULL
           AND (n.lease_until IS NULL OR n.lease_until < now())
         ORDER BY n.message_id LIMIT 1 FOR UPDATE OF n SKIP LOCKED) c
 WHERE i.what_if_id = c.what_if_id AND i.message_id = c.message_id
RETURNING i.message_id, i.claim_token"""

_END = """
UPDATE et_what_if_items SET turn_id = %s, old_turn_id = %s, outcome = %s, problem = %s, lease_until = NULL
 WHERE what_if_id = %s AND message_id = %s AND claim_token = %s AND outcome IS NULL AND problem IS NULL"""

_GIVE_BACK = """
UPDATE et_what_if_items SET lease_until = NULL WHERE what_if_id = %s AND message_id = %s AND claim_token = %s"""
