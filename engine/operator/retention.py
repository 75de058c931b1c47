"""Retention: what is only kept for looking back goes after its time, in batches of one short commit each.

Messages, queue rows and turns themselves stay: order, deduplication and cost rest on them. Each batch is in the
audit log; `et_retention` keeps the last run of each kind, and how far runs have come where no index tells.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Connection, Pool, Row, transaction
from engine.database.directory import in_force
from engine.operator.audit import Operator, acting, audit, rows
from engine.operator.bulk import Stop
from engine.operator.retention_sql import BATCHES, DUE, STEPWISE
from engine.settings import Settings

BATCH = 500
COUNT_LIMIT = 100_000
"""More rows past their time are not counted, only told as more than this."""
KINDS = tuple(BATCHES)
Progress = Callable[[int, int], None]
"""Rows gone so far, and rows there were; may raise `bulk.Stop`."""


class Kept(BaseModel):
    """How many days a kind is kept, and how many rows of it a run let go."""

    model_config = ConfigDict(frozen=True)

    kind: str
    days: float
    """0: for ever."""
    gone: int = 0


class Due(Kept):
    """A kind before a run: what the run would take, and what the last one took."""

    due: int = 0
    """At most `COUNT_LIMIT` + 1."""
    oldest: datetime | None = None
    """Of what is due."""
    ran_at: datetime | None = None
    ran_by: str | None = None
    ran_gone: int | None = None


def kinds(settings: Settings) -> list[Kept]:
    """Every kind with the days it is kept by these settings."""
    return [Kept(kind=kind, days=getattr(settings, f"keep_{kind}_days")) for kind in KINDS]


async def preview(pool: Pool, settings: Settings) -> list[Due]:
    """What a run would let go of now, by the settings in force."""
    told = []
    for kept in kinds(await in_force(pool, settings)):
        async with pool.connection() as connection:
            last = await _last(connection, kept.kind)
            found: Row = {"due": 0, "oldest": None}
            if kept.days > 0:
                params = {"days": kept.days, "through": last.get("through", 0), "most": COUNT_LIMIT + 1}
                cursor = await connection.execute(DUE[kept.kind], params)
                found = await cursor.fetchone() or found
        told.append(
            Due(
                **{**kept.model_dump(), "due": found["due"], "oldest": found["oldest"]},
                ran_at=last.get("ran_at"),
                ran_by=last.get("ran_by"),
                ran_gone=last.get("gone"),
            )
        )
    return told


async def retain(
    pool: Pool, operator: Operator, settings: Settings, progress: Progress | None = None
) -> list[Kept]:
    """Let go of what is past its time. The audit log tells how much each batch took; nothing when nothing went.

    Several may run at once: a row goes once. `progress` that raises `Stop` ends it after a batch. Raises ReadOnly.
    """
    operator.may_act()
    total = sum(due.due for due in await preview(pool, settings)) if progress else 0
    told: list[Kept] = []
    before = 0
    for kept in kinds(await in_force(pool, settings)):
        gone, stopped = 0, False
        if kept.days > 0:

            def tell(so_far: int, before: int = before) -> None:
                if progress is not None:
                    progress(before + so_far, max(total, before + so_far))

            gone, stopped = await _let_go(pool, operator, kept, tell)
        told.append(kept.model_copy(update={"gone": gone}))
        before += gone
        if stopped:
            break
    return told


async def _let_go(
    pool: Pool, operator: Operator, kept: Kept, tell: Callable[[int], None]
) -> tuple[int, bool]:
    """All of a kind that is past its time, each batch with its row of the log; how many went, and if it was stopped."""
    gone, stopped = 0, False
    while not stopped:
        async with transaction(pool) as connection:
            if kept.kind == "audit":
                await rows(connection, "SET LOCAL switchboard.retention = 'on'")
            through = (await _last(connection, kept.kind)).get("through", 0)
            params = {"days": kept.days, "batch": BATCH, "through": through}
            cursor = await connection.execute(BATCHES[kept.kind], params)
            batch = await cursor.fetchall()
            went = sum(1 for row in batch if row["gone"])
            if batch and kept.kind in STEPWISE:
                await _come(connection, kept.kind, max(row["id"] for row in batch))
            if went:
                await audit(connection, operator, "retention", "database", None, {kept.kind: went})
        if not batch:
            break
        gone += went
        try:
            tell(gone)
        except Stop:
            stopped = True
    async with acting(pool, operator) as connection:
        await _note(connection, kept.kind, operator, gone)
    return gone, stopped


async def _last(connection: Connection, kind: str) -> Row:
    found = await rows(
        connection, "SELECT through, ran_at, ran_by, gone FROM et_retention WHERE kind = %s", kind
    )
    return found[0] if found else {}


async def _note(connection: Connection, kind: str, operator: Operator, gone: int) -> None:
    """Keep that a run has ended."""
    await rows(
        connection,
        """INSERT INTO et_retention (kind, ran_at, ran_by, gone) VALUES (%s, now(), %s, %s)
               ON CONFLICT (kind) DO UPDATE SET ran_at = now(), ran_by = excluded.ran_by, gone = excluded.gone""",
        kind,
        operator.name,
        gone,
    )


async def _come(connection: Connection, kind: str, through: int) -> None:
    """Keep how far runs have come."""
    await rows(
        connection,
        """INSERT INTO et_retention (kind, through) VALUES (%s, %s)
               ON CONFLICT (kind) DO UPDATE SET through = greatest(et_retention.through, excluded.through)""",
        kind,
        through,
    )
