"""The outbound side of the database: claim, start, record, retry, release, rescue. Each one statement.

A send is held by (queue row, token); every write after the claim carries the token.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.database.connection import Connection, Row, fetch, to_json
from engine.model import OutboundStatus, Outcome
from engine.sends import Send


@dataclass(frozen=True)
class SendResult:
    """What became of a send."""

    queue_id: int
    token: int
    status: OutboundStatus
    outcome: Outcome | None = None
    provider_message_id: str | None = None
    error_class: str | None = None
    error: str | None = None
    retry_seconds: float = 0.0
    hand_over: bool = False
    """The thread goes to a person, who can still reach the customer."""
    attempts: int | None = None
    """How many tries count from now on, where it is not every one."""
    other_ids: tuple[str, ...] = ()
    """The far end's ids of a long text's earlier parts."""
    known_at: float = field(default_factory=time.monotonic, compare=False)
    """When the outcome was known, by this process's monotonic clock; it may be recorded later."""


async def claim_sends(
    connection: Connection, *, engine: str, sends: int, lease_seconds: float, paused: Collection[str]
) -> list[Send]:
    """T3: claim up to `sends` due sends, the oldest of each thread; `paused` routes are left alone."""
    rows = await fetch(connection, "claim_sends", engine, sends, lease_seconds, list(paused))
    return [Send(**row) for row in rows]


async def start_sends(connection: Connection, engine: str, sends: Sequence[Send]) -> list[bool]:
    """T4: mark sends as started, in one commit. False: cancelled, or not ours any more; it must not be sent."""
    ordered = sorted(
        sends, key=lambda send: send.thread_id or 0
    )  # threads are locked in one order everywhere
    rows = await fetch(
        connection,
        "start_sends",
        engine,
        [send.queue_id for send in ordered],
        [send.token for send in ordered],
        [send.thread_id for send in ordered],
    )
    # By token too: after a long wait, two claims of one send may stand in the same batch.
    started = {(row["id"], row["token"]) for row in rows}
    return [(send.queue_id, send.token) in started for send in sends]


async def record_sends(connection: Connection, results: Sequence[SendResult]) -> list[bool]:
    """T5: record what became of sends, in one commit. False: the claim was lost meanwhile."""
    told = to_json([_told(result) for result in results])
    if handed_over := [result.queue_id for result in results if result.hand_over]:
        async with connection.transaction():
            # Threads are locked before queue rows, as a takeover does.
            await fetch(connection, "lock_threads_of_sends", handed_over)
            rows = await fetch(connection, "record_sends", told)
    else:
        rows = await fetch(connection, "record_sends", told)
    recorded = {(row["id"], row["token"]) for row in rows}
    return [(result.queue_id, result.token) in recorded for result in results]


def _told(result: SendResult) -> dict[str, Any]:
    told = {key: value for key, value in result.__dict__.items() if value is not None}
    told["seconds_ago"] = time.monotonic() - told.pop("known_at")
    return told


async def promote_retries(connection: Connection) -> int:
    """Queue again what has waited long enough; returns how many."""
    return len(await fetch(connection, "promote_retries"))


async def rescue_sends(connection: Connection) -> list[Row]:
    """Free what engines that stopped answering have held; rows of `id` and new `status`."""
    return await fetch(connection, "rescue_sends")


async def routes_waited_for(connection: Connection, routes: Sequence[str]) -> set[str]:
    """Those of `routes` that sends wait for or are under way to."""
    return {row["route"] for row in await fetch(connection, "routes_waited_for", list(routes))}


async def release_sends(connection: Connection, *, engine: str, sends: Sequence[Send]) -> int:
    """Clean stop: queue again what was not started; returns how many."""
    ids, tokens = [send.queue_id for send in sends], [send.token for send in sends]
    return len(await fetch(connection, "release_sends", engine, ids, tokens))


async def postpone_sends(
    connection: Connection, engine: str, sends: Sequence[Send], seconds: Sequence[float]
) -> int:
    """Queue sends again that may not leave yet; returns how many were still ours."""
    ids, tokens = [send.queue_id for send in sends], [send.token for send in sends]
    return len(await fetch(connection, "postpone_sends", engine, ids, tokens, list(seconds)))


async def seconds_to_next_send(connection: Connection) -> float | None:
    """Seconds until the next send or retry is due, 0 when one is; None when none waits."""
    rows = await fetch(connection, "next_send")
    return rows[0]["seconds"] if rows else None
