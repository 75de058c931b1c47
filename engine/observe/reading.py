"""What the database says about an installation: its schema, engines, queues and switches.

Three round trips, flat in history size, and bounded in time: a dead database is known as such within 5 s.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeVar

import psycopg
from psycopg_pool import PoolTimeout, TooManyRequests
from pydantic import BaseModel, ValidationError

from engine.database.connection import Connection, DatabaseError, Pool, connect, where
from engine.database.schema_checks import CATALOGUE, SchemaCheck, evaluate
from engine.model import Blocker, EngineSnapshot, InboundStatus, OutboundStatus, Outcome
from engine.observe.state_sql import COUNT_LIMIT, DATABASE, STATE
from engine.text import one_line

ALIVE_SECONDS = 15.0
"""An engine whose last heartbeat is older than this counts as gone."""
CONNECTION_SECONDS = 1.5
"""To get a connection out of the pool."""
ANSWER_SECONDS = 4.0
"""For all questions together; whoever asks learns of a dead database within 5 s."""
DIAGNOSIS_SECONDS = 0.8

Answer = TypeVar("Answer")


class QueueState(BaseModel):
    """How many rows are in a status right now, and how long the oldest has been there."""

    queue: Literal["inbound", "outbound"]
    status: str
    outcome: Outcome | None = None
    """Of failed sends: those of unknown outcome and the cancelled ones are told apart from the rest."""
    count: int = 0
    """At most `COUNT_LIMIT`; `more` says that there are more. Of `inbound_human_takeover`: conversations
    of a person in which the customer has the last word."""
    more: bool = False
    oldest_age_seconds: float | None = None
    """None when there is none, or nobody knows. Where `more` is set, the oldest of those counted, but of
    `inbound_error` the oldest of all. Of `received`: the oldest of those that are not held."""
    held: int = 0
    """Of `received`, within `count`: those that wait because the AI is paused for them."""
    held_oldest_age_seconds: float | None = None


class DatabaseState(BaseModel):
    """The server, as far as it told."""

    where: str
    server_version: str | None = None
    size_bytes: int | None = None
    connections: int | None = None
    connections_max: int | None = None
    latency_ms: float | None = None
    """Of one empty round trip."""


class OpenIncident(BaseModel):
    """What an alert is about, while it goes on."""

    id: int
    rule: str
    subject: str
    what: str


class EngineState(EngineSnapshot):
    """An engine's snapshot, and how old it is."""

    heartbeat_age_seconds: float = 0.0
    alive: bool = True


@dataclass
class Reading:
    """What the database said."""

    at: datetime
    database: DatabaseState
    schema: SchemaCheck
    engines: list[EngineState] = field(default_factory=list)
    queues: list[QueueState] = field(default_factory=list)
    ai_paused: bool = False
    paused_channels: list[str] = field(default_factory=list)
    paused_threads: int = 0
    """At most `PAUSED_LIMIT` + 1."""
    paused_tenants: int = 0
    refused: Blocker | None = None
    incidents: list[OpenIncident] = field(default_factory=list)


class Unreachable(Exception):
    """The database did not answer; `blocker` says why."""

    def __init__(self, blocker: Blocker) -> None:
        super().__init__(blocker.what)
        self.blocker = blocker


async def read(pool: Pool) -> Reading:
    """Everything, within 5 s. Raises Unreachable."""
    return await _bounded(pool, _read(pool))


async def read_schema(pool: Pool) -> SchemaCheck:
    """The schema alone: one round trip, within 5 s. Raises Unreachable."""
    return await _bounded(pool, _read_schema(pool))


def place(pool: Pool) -> str:
    """Where the pool's database is, without its password."""
    return where(_dsn(pool))


async def _read(pool: Pool) -> Reading:
    async with pool.connection(timeout=CONNECTION_SECONDS) as connection:
        started = time.perf_counter()
        await connection.execute("SELECT")
        latency_ms = (time.perf_counter() - started) * 1000
        row = await (await connection.execute(DATABASE.encode())).fetchone()
        assert row is not None
        reading = Reading(
            at=row["now"],
            schema=evaluate(row["catalogue"]),
            database=DatabaseState(
                where=place(pool),
                server_version=row["version"],
                size_bytes=row["size_bytes"],
                connections=row["connections"],
                connections_max=row["connections_max"],
                latency_ms=round(latency_ms, 2),
            ),
        )
        await _read_state(connection, reading)
        return reading


async def _read_state(connection: Connection, reading: Reading) -> None:
    """Engines, switches and queues; of a schema that is not ours, whatever its blockers leave."""
    try:
        row = await (await connection.execute(STATE.encode())).fetchone()
    except (psycopg.ProgrammingError, psycopg.DataError) as error:
        if reading.schema.compatible:
            reading.refused = _refused(error)
        return
    assert row is not None
    state = json.loads(row["state"])
    reading.engines = [_engine(row) for row in state["engines"]]
    reading.queues = _queues(state["queues"])
    reading.incidents = [OpenIncident(**row) for row in state["incidents"]]
    reading.ai_paused = state["ai_paused"] is True
    channels = state["paused_channels"]
    reading.paused_channels = [str(c) for c in channels] if isinstance(channels, list) else []
    reading.paused_threads = state["paused_threads"]
    reading.paused_tenants = state["paused_tenants"]


async def _read_schema(pool: Pool) -> SchemaCheck:
    async with pool.connection(timeout=CONNECTION_SECONDS) as connection:
        row = await (await connection.execute(CATALOGUE.encode())).fetchone()
        assert row is not None
        return evaluate(row["catalogue"])


def _engine(row: dict[str, Any]) -> EngineState:
    """An engine's row; of another version's snapshot that we cannot read, what the columns say."""
    known = {
        "name": row["name"],
        "version": row["version"] or "",
        "host": row["host"] or "",
        "pid": row["pid"] or 0,
        "http_address": row["http_address"],
        "simulated": row["simulated"],
        "started_at": row["started_at"],
        "heartbeat_age_seconds": round(row["age"], 1),
        "alive": row["age"] <= ALIVE_SECONDS,
    }
    told = row["snapshot"] if isinstance(row["snapshot"], dict) else {}
    try:
        return EngineState.model_validate({**told, **known})
    except ValidationError:
        return EngineState.model_validate(known)


def _queues(rows: list[dict[str, Any]]) -> list[QueueState]:
    """Every queue in the order of a message's trip, the empty ones too."""
    inbound = [s for s in InboundStatus if s is not InboundStatus.AI_REPLIED]
    outbound = (OutboundStatus.QUEUED, OutboundStatus.PROCESSING, OutboundStatus.RETRY_SCHEDULED)
    keys: list[tuple[Literal["inbound", "outbound"], str, Outcome | None]] = [
        *(("inbound", status, None) for status in inbound),
        *(("outbound", status, None) for status in outbound),
        *(("outbound", OutboundStatus.FAILED, kind) for kind in (Outcome.UNKNOWN, None, Outcome.CANCELLED)),
    ]
    found = {(row["queue"], row["status"], row["outcome"]): row for row in rows}
    full = {(row["queue"], row["status"]) for row in rows if row["count"] > COUNT_LIMIT}
    if sum(row["count"] for row in rows if row["status"] == OutboundStatus.FAILED) > COUNT_LIMIT:
        full.add(("outbound", OutboundStatus.FAILED))
    states = []
    for queue, status, outcome in keys:
        row = found.get((queue, status, outcome), {"count": 0, "age": None})
        states.append(
            QueueState(
                queue=queue,
                status=status,
                outcome=outcome,
                count=min(row["count"], COUNT_LIMIT),
                more=(queue, status) in full,
                oldest_age_seconds=row["age"],
                held=min(row.get("held", 0), COUNT_LIMIT),
                held_oldest_age_seconds=row.get("held_age"),
            )
        )
    return states


async def _bounded(pool: Pool, work: Coroutine[Any, Any, Answer]) -> Answer:
    """`work`, or Unreachable when it fails or takes too long.

    A query on a dead connection cannot be cancelled at once, so it is left behind and not waited for.
    """
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=ANSWER_SECONDS)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not done:
        task.cancel()
        task.add_done_callback(lambda late: late.cancelled() or late.exception())
        raise Unreachable(_silent(pool, ANSWER_SECONDS))
    try:
        return task.result()
    except (PoolTimeout, TooManyRequests):
        raise Unreachable(await _why_no_connection(pool)) from None
    except (psycopg.Error, OSError) as error:
        what = f"The database broke off: {_said(error)}."
        remedy = "It is asked again by itself; see the server's log."
        raise Unreachable(_blocker("unreachable", what, pool, remedy)) from None


async def _why_no_connection(pool: Pool) -> Blocker:
    """The pool had none to give: is the server gone, or are they all in use?"""
    try:
        async with asyncio.timeout(DIAGNOSIS_SECONDS):
            connection = await connect(_dsn(pool))
            await connection.close()
    except DatabaseError as error:
        return _blocker("unreachable", error.what, pool, error.remedy)
    except (TimeoutError, psycopg.Error, OSError):
        return _silent(pool, CONNECTION_SECONDS + DIAGNOSIS_SECONDS)
    what = "All connections of this process are in use."
    return _blocker("pool_exhausted", what, pool, "It passes when the load does; see what holds them.")


def _silent(pool: Pool, seconds: float) -> Blocker:
    what = f"The database gave no answer within {seconds:.0f} s."
    return _blocker("unreachable", what, pool, "See whether the server and the network to it are well.")


def _refused(error: psycopg.Error) -> Blocker:
    return Blocker(
        code="database.refused",
        what=f"Reading the state was refused: {_said(error)}.",
        where="et_*",
        remedy="Grant this user SELECT, INSERT, UPDATE and DELETE on the et_ tables.",
    )


def _blocker(code: str, what: str, pool: Pool, remedy: str) -> Blocker:
    return Blocker(code=f"database.{code}", what=what, where=place(pool), remedy=remedy)


def _said(error: psycopg.Error | OSError) -> str:
    told = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    return one_line(told or str(error) or type(error).__name__).rstrip(".")


def _dsn(pool: Pool) -> str:
    assert isinstance(pool.conninfo, str), "open_pool gives it as text"
    return pool.conninfo
