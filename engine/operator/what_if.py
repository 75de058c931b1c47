"""What-if: an agent answers messages of the past once more, in another version or by other routes; nothing is sent.

    create ──▶ running ◀──▶ paused          each item: waiting ──claim──▶ run ──▶ outcome, or a problem
                  │  └─────────┴──▶ cancelled
                  └──▶ done

The items lie in the database, so a what-if can be paused, taken up by another program, and looked at again.
`what_if_run` carries one out, `what_if_results` tells what came of it. What it uses is usage of the task `what_if`,
and budgets see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Connection, Pool, to_json
from engine.operator.agent_versions import KEEP, Keep, check_prompt
from engine.operator.audit import BadInput, NotFound, Operator, Refused, acting, audit, one, rows
from engine.operator.configuration import check_routing
from engine.operator.rehearsal import Variant
from engine.operator.what_if_estimate import estimate
from engine.text import clean_for_storage

MOST = 10_000
"""Messages of one what-if."""
TASK = "what_if"
FAILED = ("error", "retry")
"""Outcomes of a run to which no model gave an answer."""
State = Literal["running", "paused", "cancelled", "done"]


@dataclass(frozen=True)
class Trial:
    """What is tried: a version of an agent, and what takes the place of its parts."""

    agent_id: int
    version: int
    prompt: str | None = None
    """None: the version's."""
    routing: Any | Keep = KEEP
    """JSON text, or what it parses to. KEEP: the version's."""

    @property
    def words(self) -> str:
        """What is tried, in a few words."""
        return _in_words(self.version, self.prompt is not None, self.routing not in (KEEP, None))

    def checked(self) -> Trial:
        """As it would be stored. Raises BadInput."""
        prompt = None if self.prompt is None else check_prompt(self.prompt)
        routing = KEEP if self.routing is KEEP else check_routing(self.routing)
        return Trial(self.agent_id, self.version, prompt, routing)


class WhatIf(BaseModel):
    """A what-if and how far it is."""

    model_config = ConfigDict(frozen=True)

    id: int
    agent_id: int
    agent: str
    version: int
    own_prompt: bool
    """Another prompt than the version's is tried."""
    routing: Any
    """Tried in place of the version's; None: not."""
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

    @property
    def tried(self) -> str:
        """What is tried, in a few words."""
        return _in_words(self.version, self.own_prompt, self.routing is not None)


def _in_words(version: int, own_prompt: bool, own_routes: bool) -> str:
    given = [("another prompt", own_prompt), ("other routes", own_routes)]
    parts = [name for name, is_so in given if is_so]
    return f"version {version}" + (f" with {' and '.join(parts)}" if parts else "")


async def create(
    pool: Pool, operator: Operator, trial: Trial, message_ids: Sequence[int], words: str = ""
) -> WhatIf:
    """Store a what-if of these messages, ready for `carry_out`.

    Raises BadInput without a message, with more than MOST, or for a prompt or routing that cannot be used,
    NotFound, ReadOnly.
    """
    operator.may_act()
    trial = trial.checked()
    agent_id, version = trial.agent_id, trial.version
    ids = sorted(set(message_ids))
    if not ids:
        raise BadInput("No message matches that this agent could answer.", "Widen the filter.")
    if len(ids) > MOST:
        raise BadInput(f"{len(ids)} messages are too many for one what-if.", f"Take {MOST} at most.")
    expected = await estimate(pool, ids, trial.routing)
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
            """INSERT INTO et_what_ifs (agent_id, version, prompt, routing, filter, total, estimate_usd, started_by)
               VALUES (%s, %s, %s, %s::jsonb, %s, %s, %s, %s) RETURNING id""",
            agent_id,
            version,
            trial.prompt,
            None if trial.routing is KEEP or trial.routing is None else to_json(trial.routing),
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
        after = {
            "agent_id": agent_id,
            "version": version,
            "messages": len(ids),
            "estimate_usd": expected.usd,
            "own_prompt": trial.prompt is not None,
            "routing": None if trial.routing is KEEP else trial.routing,
        }
        await audit(connection, operator, "what_if.start", f"what_if:{what_if_id}", None, after, words)
    return await read(pool, what_if_id)


async def read(pool: Pool, what_if_id: int) -> WhatIf:
    """A what-if as it stands. Raises NotFound."""
    found = await _read(pool, "w.id = %s", what_if_id, 1)
    if not found:
        raise NotFound(f"What-if {what_if_id} does not exist.", "List them: switchboard what-if --list")
    return found[0]


async def variant_of(pool: Pool, what_if_id: int) -> Variant:
    """What a what-if tries, for a rehearsal. Raises NotFound."""
    async with pool.connection() as connection:
        found = await one(
            connection,
            f"What-if {what_if_id}",
            "SELECT agent_id, version, prompt, routing FROM et_what_ifs WHERE id = %s",
            what_if_id,
        )
    routing = KEEP if found["routing"] is None else found["routing"]
    return Variant(found["agent_id"], found["version"], found["prompt"], routing)


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
            await move(connection, what_if_id, state, None)
            if state == "running":
                await rows(connection, _AGAIN, what_if_id, list(FAILED))
            await audit(connection, operator, f"what_if.{state}", f"what_if:{what_if_id}", before, state)
    return await read(pool, what_if_id)


async def move(connection: Connection, what_if_id: int, state: State, note: str | None) -> bool:
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


async def _read(pool: Pool, where: str, value: int | None, limit: int) -> list[WhatIf]:
    async with pool.connection() as connection:
        found = await connection.execute(_WHAT_IFS.replace("%(where)s", where).encode(), [TASK, value, limit])
        return [WhatIf(**row) for row in await found.fetchall()]


_WHAT_IFS = """
SELECT w.id, w.agent_id, coalesce(a.name, '') AS agent, w.version, w.prompt IS NOT NULL AS own_prompt, w.routing,
       w.filter, w.state, w.note, w.total,
       w.estimate_usd, w.started_by, w.created_at, w.finished_at, coalesce(i.done, 0) AS done,
       coalesce(i.usd, 0) AS cost_usd
  FROM et_what_ifs w
  LEFT JOIN et_agents a ON a.id = w.agent_id
  LEFT JOIN LATERAL (
       SELECT count(*) AS done, sum(t.cost_usd) AS usd
         FROM et_what_if_items n LEFT JOIN et_turns t ON t.id = n.turn_id AND t.task = %s
        WHERE n.what_if_id = w.id AND (n.outcome IS NOT NULL OR n.problem IS NOT NULL)) i ON true
 WHERE %(where)s ORDER BY w.id DESC LIMIT %s"""

_AGAIN = """
UPDATE et_what_if_items SET turn_id = NULL, outcome = NULL, problem = NULL, lease_until = NULL
 WHERE what_if_id = %s AND (outcome = ANY(%s) OR problem IS NOT NULL)"""
