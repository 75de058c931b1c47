"""Records as panes list them: sends, turns, operators' acts, schema runs. Newest first, by keyset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.database.connection import Connection, Pool, fetch
from engine.observe.message_sql import MOST, SEND_ORDER, STRETCH, of_status
from engine.observe.views import TOP

PAGE = 200
_SEND_PAGE = """
SELECT q.id {source}
 WHERE q.id < %(before)s AND q.id >= %(floor)s
   AND (%(status)s::text IS NULL OR q.status = %(status)s)
   AND (%(channel)s::text IS NULL OR q.channel = %(channel)s)
   AND (%(tenant_id)s::bigint IS NULL OR q.tenant_id = %(tenant_id)s)
   AND (%(outcome)s::text IS NULL OR q.outcome = %(outcome)s)
   AND (%(error_class)s::text IS NULL OR q.error_class = %(error_class)s)
 ORDER BY q.id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class SendRow:
    """A send in a list. Texts and errors are foreign."""

    id: int
    message_id: int
    status: str
    outcome: str | None
    error_class: str | None
    error: str | None
    attempts: int
    next_attempt_at: datetime
    created_at: datetime
    updated_at: datetime
    send_started_at: datetime | None
    finished_at: datetime | None
    claimed_by: str | None
    tenant_id: int | None
    thread_id: int | None
    channel: str
    account: str
    author: str
    who: str
    text: str
    provider_message_id: str | None


@dataclass(frozen=True, slots=True)
class SendSearch:
    """Conditions that must all hold; None is any."""

    status: tuple[str, ...] | None = None
    channel: str | None = None
    tenant_id: int | None = None
    outcome: str | None = None
    error_class: str | None = None


@dataclass(frozen=True)
class Act:
    """One act of an operator."""

    id: int
    at: datetime
    actor: str
    origin: str | None
    act: str
    subject: str
    before: Any
    after: Any
    note: str | None


@dataclass(frozen=True)
class SchemaRun:
    """One run of the six start-up steps."""

    id: int
    started_at: datetime
    finished_at: datetime | None
    actor: str
    fingerprint: str
    ok: bool
    steps: list[dict[str, Any]]
    blockers: list[dict[str, Any]]
    drift: list[str]


@dataclass(frozen=True, slots=True)
class TurnRow:
    """A turn in a list."""

    id: int
    tenant_id: int
    thread_id: int
    message_id: int
    reply_message_id: int | None
    kind: str
    outcome: str
    reason: str | None
    error: str | None
    provider: str | None
    model: str | None
    total_tokens: int | None
    cost_usd: float | None
    burst: int
    engine: str | None
    simulated: bool
    started_at: datetime | None
    answered_at: datetime | None
    finished_at: datetime
    calls: int
    """To LLM providers."""


async def sends(pool: Pool, search: SendSearch, before: int = TOP, limit: int = PAGE) -> tuple[SendRow, ...]:
    """Sends before a queue id, the newest first.

    Of statuses with work or trouble in them at most the newest `MOST` each; others are looked for among the
    `STRETCH` ids before.
    """
    found: set[int] = set()
    async with pool.connection() as connection:
        if before == TOP:
            newest = await fetch(connection, "newest_send")
            before = newest[0]["id"] + 1 if newest else 1
        for status in search.status or (None,):
            found |= set(await _send_ids(connection, search, status, before, limit))
        rows = await _sends(connection, sorted(found, reverse=True)[:limit])
        return rows[::-1]


async def _send_ids(
    connection: Connection, search: SendSearch, status: str | None, before: int, limit: int
) -> list[int]:
    source, floor = "FROM et_outbound_queue q", max(0, before - STRETCH)
    if status in SEND_ORDER:
        source, floor = f"FROM ({of_status(status)}) s JOIN et_outbound_queue q ON q.id = s.id", 0
    params = {
        "before": before,
        "floor": floor,
        "status": status,
        "channel": search.channel,
        "tenant_id": search.tenant_id,
        "outcome": search.outcome,
        "error_class": search.error_class,
        "limit": limit,
    }
    cursor = await connection.execute(_SEND_PAGE.format(source=source).encode(), params, prepare=False)
    return [row["id"] for row in await cursor.fetchall()]


async def unknown_sends(pool: Pool) -> tuple[SendRow, ...]:
    """Sends of unknown outcome, the oldest first: each waits for a person's decision."""
    async with pool.connection() as connection:
        found = await fetch(connection, "sends_unknown", MOST)
        return await _sends(connection, [row["id"] for row in found])


async def send_rows(pool: Pool, ids: Sequence[int]) -> tuple[SendRow, ...]:
    """These sends, the oldest first."""
    async with pool.connection() as connection:
        return await _sends(connection, ids)


async def acts(
    pool: Pool,
    *,
    before: int = TOP,
    act: str | None = None,
    actor: str | None = None,
    subject: str | None = None,
    limit: int = PAGE,
) -> tuple[Act, ...]:
    """Operators' acts before an id, the newest first; `act` is how its name begins."""
    async with pool.connection() as connection:
        if subject is not None:
            found = await fetch(connection, "audit_of_subject", before, act, actor, subject, limit)
            return tuple(Act(**row) for row in found)
        if before == TOP:
            newest = await fetch(connection, "newest_audit")
            before = newest[0]["id"] + 1 if newest else 1
        floor = max(0, before - STRETCH)
        rows = await fetch(connection, "audit_page", before, floor, act, actor, limit)
        return tuple(Act(**row) for row in rows)


async def schema_runs(pool: Pool, *, before: int = TOP, limit: int = 50) -> tuple[SchemaRun, ...]:
    """Runs of the start-up steps, the newest first."""
    async with pool.connection() as connection:
        return tuple(SchemaRun(**row) for row in await fetch(connection, "schema_runs", before, limit))


async def turns(
    pool: Pool, *, before: int = TOP, notable: bool = False, limit: int = PAGE
) -> tuple[TurnRow, ...]:
    """Turns before an id, the newest first; `notable` are those that did not end with a reply."""
    async with pool.connection() as connection:
        name = "turns_notable" if notable else "turns_page"
        return tuple(TurnRow(**row) for row in await fetch(connection, name, before, limit))


async def _sends(connection: Connection, ids: Sequence[int]) -> tuple[SendRow, ...]:
    if not ids:
        return ()
    return tuple(SendRow(**row) for row in await fetch(connection, "send_rows", list(ids)))
