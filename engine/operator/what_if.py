"""What-if: another version of an agent answers messages of the past once more; nothing is sent.

    create ──▶ running ◀──▶ paused          each item: waiting ──claim──▶ run ──▶ outcome, or a problem
                  │  └─────────┴──▶ cancelled
                  └──▶ done

The items lie in the database, so a what-if can be paused, taken up by another program, and looked at again.
No transaction is open while a model is asked. What it uses is usage of the task `what_if`, and budgets see it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Connection, Pool, Row
from engine.logs import get_logger
from engine.model import SwitchboardError
from engine.operator.audit import BadInput, NotFound, Operator, Refused, acting, audit, one, rows
from engine.operator.bulk import Progress
from engine.operator.dry_run import record_run
from engine.operator.rehearsal import OutOfMoney, Rehearsed, Runner, Variant, rehearsal
from engine.settings import Settings
from engine.text import clean_for_storage

log = get_logger(__name__)
AT_ONCE = 4
"""Runs under way at the same time; the engine's own turns need the providers too."""
MOST = 10_000
"""Messages of one what-if."""
LEASE_SECONDS = 300
"""After this long without a result, another program may run an item again."""
FAILURES_IN_A_ROW = 8
"""After so many without an answer it pauses: the providers are down, or the version cannot be used."""
TASK = "what_if"
FAILED = ("error", "retry")
"""Outcomes of a run to which no model gave an answer."""
State = Literal["running", "paused", "cancelled", "done"]


class WhatIf(BaseModel):
    """A what-if and how far it is."""

    model_config = ConfigDict(frozen=True)

    id: int
    agent_id: int
    agent: str
    version: int
    filter: str
    """The words that chose the messages."""
    state: State
    note: str | None
    """Why it paused."""
    total: int
    done: int
    estimate_usd: Decimal | None
    cost_usd: Decimal
    """Spent so far, as far as prices are known."""
    started_by: str
    created_at: datetime
    finished_at: datetime | None


class Estimate(BaseModel):
    """What a what-if is likely to cost."""

    model_config = ConfigDict(frozen=True)

    messages: int
    usd: Decimal | None
    """From what these messages' turns cost before; None when no such cost is known."""
    known: int
    """Messages whose former cost is known; the others are taken to cost the average of these."""


async def eligible(pool: Pool, agent_id: int, message_ids: Sequence[int]) -> list[int]:
    """Of these messages those that this agent answered, or nobody yet: each burst once, the oldest first."""
    async with pool.connection() as connection:
        found = await rows(connection, _ELIGIBLE, agent_id, list(message_ids))
    return [row["id"] for row in found]


async def estimate(pool: Pool, message_ids: Sequence[int]) -> Estimate:
    """What running these messages once is likely to cost."""
    async with pool.connection() as connection:
        told = (await rows(connection, _ESTIMATE, list(message_ids)))[0]
    known, average = told["known"], told["average"]
    usd = None if average is None else average * len(message_ids)
    return Estimate(messages=len(message_ids), usd=usd, known=known)


async def create(
    pool: Pool, operator: Operator, agent_id: int, version: int, message_ids: Sequence[int], words: str = ""
) -> WhatIf:
    """Store a what-if of these messages, ready for `carry_out`.

    Raises BadInput without a message or with more than MOST, NotFound, ReadOnly.
    """
    ids = sorted(set(message_ids))
    if not ids:
        raise BadInput("No message matches that this agent could answer.", "Widen the filter.")
    if len(ids) > MOST:
        raise BadInput(f"{len(ids)} messages are too many for one what-if.", f"Take {MOST} at most.")
    expected = await estimate(pool, ids)
    async with acting(pool, operator) as connection:
        agent = await one(
            connection,
            f"Version {version} of agent {agent_id}",
            """SELECT a.enabled FROM et_agent_versions v JOIN et_agents a ON a.id = v.agent_id
                WHERE v.agent_id = %s AND v.version = %s""",
            agent_id,
            version,
        )
        if not agent["enabled"]:
            raise Refused(f"Agent {agent_id} is switched off.", "Switch it on, then try its version.")
        made = await rows(
            connection,
            """INSERT INTO et_what_ifs (agent_id, version, filter, total, estimate_usd, started_by)
               VALUES (%s, %s, %s, %s, %s, %s) RETURNING id""",
            agent_id,
            version,
            clean_for_storage(words)[:1000],
            len(ids),
            expected.usd,
            operator.name,
        )
        what_if_id = int(made[0]["id"])
        await rows(
            connection,
            "INSERT INTO et_what_if_items (what_if_id, message_id) SELECT %s, unnest(%s::bigint[])",
            what_if_id,
            ids,
        )
        after = {"agent_id": agent_id, "version": version, "messages": len(ids), "estimate_usd": expected.usd}
        await audit(connection, operator, "what_if.start", f"what_if:{what_if_id}", None, after, words)
    return await read(pool, what_if_id)


async def read(pool: Pool, what_if_id: int) -> WhatIf:
    """A what-if as it stands. Raises NotFound."""
    found = await _read(pool, "w.id = %s", what_if_id, 1)
    if not found:
        raise NotFound(f"What-if {what_if_id} does not exist.", "List them: switchboard what-if --list")
    return found[0]


async def list_what_ifs(pool: Pool, agent_id: int | None = None, limit: int = 100) -> list[WhatIf]:
    """What was tried, the newest first; of one agent or of all."""
    return await _read(pool, "coalesce(w.agent_id = %s, true)", agent_id, limit)


async def set_state(pool: Pool, operator: Operator, what_if_id: int, state: State) -> WhatIf:
    """Pause, go on with (`running`), or cancel. Runs under way end by themselves and are kept.

    Going on gives those that got no answer another try; `carry_out` does it. Raises Refused when it is over,
    NotFound, ReadOnly.
    """
    async with acting(pool, operator) as connection:
        found = await one(
            connection,
            f"What-if {what_if_id}",
            "SELECT state FROM et_what_ifs WHERE id = %s FOR UPDATE",
            what_if_id,
        )
        before = found["state"]
        if before in ("cancelled", "done") and before != state:
            raise Refused(f"What-if {what_if_id} is {before}.", "Start another one.")
        if before != state:
            await _move(connection, what_if_id, state, None)
            if state == "running":
                await rows(connection, _AGAIN, what_if_id, list(FAILED))
            await audit(connection, operator, f"what_if.{state}", f"what_if:{what_if_id}", before, state)
    return await read(pool, what_if_id)


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
    variant = Variant(agent_id=what_if.agent_id, version=what_if.version)
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
            if await _move(connection, self._id, "paused", why):
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


async def _move(connection: Connection, what_if_id: int, state: State, note: str | None) -> bool:
    """Another state, unless it is over; whether that changed anything."""
    moved = await rows(
        connection,
        """UPDATE et_what_ifs SET state = %s, note = %s,
                  finished_at = CASE WHEN %s IN ('cancelled', 'done') THEN now() END
            WHERE id = %s AND state IN ('running', 'paused') AND state <> %s RETURNING id""",
        state,
        note,
        state,
        what_if_id,
        state,
    )
    return bool(moved)


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


async def _read(pool: Pool, where: str, value: int | None, limit: int) -> list[WhatIf]:
    async with pool.connection() as connection:
        found = await connection.execute(_WHAT_IFS.replace("%(where)s", where).encode(), [TASK, value, limit])
        return [WhatIf(**row) for row in await found.fetchall()]


_WHAT_IFS = """
SELECT w.id, w.agent_id, coalesce(a.name, '') AS agent, w.version, w.filter, w.state, w.note, w.total,
       w.estimate_usd, w.started_by, w.created_at, w.finished_at, coalesce(i.done, 0) AS done,
       coalesce(i.usd, 0) AS cost_usd
  FROM et_what_ifs w
  LEFT JOIN et_agents a ON a.id = w.agent_id
  LEFT JOIN LATERAL (
       SELECT count(*) AS done, sum(t.cost_usd) AS usd
         FROM et_what_if_items n LEFT JOIN et_turns t ON t.id = n.turn_id AND t.task = %s
        WHERE n.what_if_id = w.id AND (n.outcome IS NOT NULL OR n.problem IS NOT NULL)) i ON true
 WHERE %(where)s ORDER BY w.id DESC LIMIT %s"""

_ELIGIBLE = """
SELECT m.id FROM et_messages m JOIN et_agents a ON a.id = %s AND a.tenant_id = m.tenant_id
 WHERE m.id = ANY(%s) AND m.direction = 'inbound' AND m.turn_head_id IS NULL AND m.thread_id IS NOT NULL
   AND coalesce((SELECT t.agent_id FROM et_turns t WHERE t.message_id = m.id AND t.kind <> 'dry_run'
                  ORDER BY t.id DESC LIMIT 1), a.id) = a.id
 ORDER BY m.id"""

_ESTIMATE = """
SELECT count(*) AS known, avg(cost_usd) AS average
  FROM (SELECT DISTINCT ON (message_id) cost_usd FROM et_turns
         WHERE message_id = ANY(%s) AND cost_usd IS NOT NULL
         ORDER BY message_id, id DESC) t"""

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

_AGAIN = """
UPDATE et_what_if_items SET turn_id = NULL, outcome = NULL, problem = NULL, lease_until = NULL
 WHERE what_if_id = %s AND (outcome = ANY(%s) OR problem IS NOT NULL)"""
