"""The schema as the Schema area shows it: the verdict, and the runs of start-up's six steps."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cache

import psycopg

from engine.database import migrations
from engine.database.connection import Connection, Pool, fetch
from engine.database.schema_checks import CATALOGUE, SchemaCheck, evaluate
from engine.observe.records import SchemaRun
from engine.observe.views import TOP

RUNS = 40
"""Runs read at a time."""


@dataclass(frozen=True)
class SchemaState:
    """What is there, and what was done to it."""

    check: SchemaCheck
    runs: tuple[SchemaRun, ...]
    """The newest, newest first; none where the table of runs itself is out of order."""
    fingerprint: str
    """Of the tables and SQL files this program brings."""

    @property
    def applied(self) -> bool:
        """Whether the last good run was made with the same files: a further run has nothing to do."""
        last_good = next((run for run in self.runs if run.ok), None)
        return self.check.compatible and last_good is not None and last_good.fingerprint == self.fingerprint


async def schema_state(pool: Pool) -> SchemaState:
    """The verdict of step 6 and the newest runs, in two round trips."""
    ours = await asyncio.to_thread(_fingerprint)
    async with pool.connection() as connection:
        row = await (await connection.execute(CATALOGUE.encode())).fetchone()
        assert row is not None
        check = evaluate(row["catalogue"])
        return SchemaState(check, await _runs(connection, TOP, RUNS), ours)


async def runs_before(pool: Pool, run_id: int) -> tuple[SchemaRun, ...]:
    """The runs before one, newest first."""
    async with pool.connection() as connection:
        return await _runs(connection, run_id, RUNS)


async def _runs(connection: Connection, before: int, limit: int) -> tuple[SchemaRun, ...]:
    try:
        found = await fetch(connection, "schema_runs", before, limit)
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        return ()
    return tuple(SchemaRun(**row) for row in found)


@cache
def _fingerprint() -> str:
    """A program does not change while it runs."""
    return migrations.fingerprint()
