"""System health: whether messages are answered, and if not, why and what to do.

Read from the database alone, so that an engine and a console attached from elsewhere see the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field

from engine.database.connection import Pool, open_pool
from engine.database.schema_checks import SchemaCheck
from engine.model import Blocker, ComponentHealth, DispatcherSnapshot, EngineSnapshot, WorkerSnapshot
from engine.observe import verdict
from engine.observe.reading import (
    DatabaseState,
    EngineState,
    OpenIncident,
    QueueState,
    Unreachable,
    place,
    read,
    read_schema,
)


class SystemHealth(BaseModel):
    """The answer of `GET /api/v1/platform/system-health`."""

    ready: bool
    """No blockers: inbound messages are answered."""
    simulated: bool = False
    """Some engine answers with a stand-in instead of a language model."""
    checked_at: datetime
    """By the database's clock; by ours when it cannot be reached."""
    blockers: list[Blocker]
    warnings: list[Blocker] = Field(default_factory=list)
    """What a person should know, though messages are answered."""
    schema_compatibility: SchemaCheck | None = None
    """None when the database cannot be reached."""
    inbound_worker: WorkerSnapshot | None = None
    """Of all live engines together: counts summed, the most telling state. None without an engine."""
    outbound_dispatcher: DispatcherSnapshot | None = None
    llm_providers: list[ComponentHealth] = Field(default_factory=list)
    """Each as the engine that fares worst with it sees it."""
    channels: list[ComponentHealth] = Field(default_factory=list)
    queues: list[QueueState] = Field(default_factory=list)
    incidents: list[OpenIncident] = Field(default_factory=list)
    """What alerts are about just now."""
    database: DatabaseState
    engines: list[EngineState] = Field(default_factory=list)


async def system_health(pool: Pool, *, local: EngineSnapshot | None = None) -> SystemHealth:
    """Everything about this installation, within 5 s; never raises for a database in trouble.

    `local` is the calling engine's own, fresher snapshot; then `ready` is about that engine. Without it,
    one live engine that can answer is needed.
    """
    mine = [EngineState(**dict(local))] if local else []
    try:
        reading = await read(pool)
    except Unreachable as error:
        return _health(mine, [error.blocker], [], DatabaseState(where=place(pool)))
    others = [engine for engine in reading.engines if not local or engine.name != local.name]
    engines = mine + others
    judged = mine or [engine for engine in others if engine.alive]
    blockers, warnings = verdict.of_engines(judged, [e for e in others if e.alive and e not in judged])
    if not judged:
        blockers.append(verdict.no_engine())
    if reading.refused:
        blockers.append(reading.refused)
    return _health(
        engines,
        verdict.distinct(reading.schema.blockers + blockers),
        warnings + verdict.notices(reading, engines),
        reading.database,
        checked_at=reading.at,
        schema_compatibility=reading.schema,
        queues=reading.queues,
        incidents=reading.incidents,
    )


async def health_at(dsn: str) -> SystemHealth:
    """System health for a caller without a pool."""
    pool = open_pool(dsn, size=1, application="switchboard status")
    await pool.open(wait=False)
    try:
        return await system_health(pool)
    finally:
        await pool.close(timeout=1)


async def readiness(pool: Pool, local: EngineSnapshot) -> tuple[bool, list[Blocker]]:
    """Whether this engine can answer messages, and what keeps it from that: one round trip, within 5 s."""
    blockers, _ = verdict.of_engines([local], [])
    try:
        check = await read_schema(pool)
    except Unreachable as error:
        return False, verdict.distinct([error.blocker, *blockers])
    blockers = verdict.distinct(check.blockers + blockers)
    return not blockers, blockers


def _health(
    engines: list[EngineState],
    blockers: list[Blocker],
    warnings: list[Blocker],
    database: DatabaseState,
    **more: Any,
) -> SystemHealth:
    alive = [engine for engine in engines if engine.alive]
    return SystemHealth(
        ready=not blockers,
        simulated=any(engine.simulated for engine in alive),
        blockers=blockers,
        warnings=verdict.distinct(warnings, beside=blockers),
        inbound_worker=verdict.summed([engine.inbound_worker for engine in alive]),
        outbound_dispatcher=verdict.summed([engine.outbound_dispatcher for engine in alive]),
        llm_providers=verdict.worst([component for engine in alive for component in engine.llm]),
        channels=verdict.worst([component for engine in alive for component in engine.channels]),
        database=database,
        engines=engines,
        **{"checked_at": datetime.now(UTC)} | more,
    )
