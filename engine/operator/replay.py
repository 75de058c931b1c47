"""Replay: messages that ended with an error or with a person go to the AI once more.

Nothing of their history is erased: the records of earlier turns stay, what the message was before is in the
audit log, and the new turn stands beside the old ones under the same message.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from engine.database.connection import Pool, fetch
from engine.model import InboundStatus
from engine.operator.audit import Operator, acting, audit, rows
from engine.operator.bulk import LIMIT, Acted, Progress, in_batches, named, sorted_out

REPLAYABLE = frozenset({InboundStatus.ERROR, InboundStatus.HUMAN_TAKEOVER})


class MessageFilter(BaseModel):
    """Which inbound messages; every condition given must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: frozenset[InboundStatus] = frozenset(InboundStatus)
    channel: str | None = None
    tenant_id: int | None = None
    thread_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    reason: str | None = None
    """How the reason begins, e.g. `llm.` or `policy.stale`."""
    limit: int = Field(LIMIT, ge=1, le=LIMIT)
    """The oldest ones first."""


class ReplayFilter(MessageFilter):
    """Which inbound messages, of those that can be replayed."""

    status: frozenset[InboundStatus] = frozenset({InboundStatus.ERROR})

    @field_validator("status")
    @classmethod
    def _replayable(cls, value: frozenset[InboundStatus]) -> frozenset[InboundStatus]:
        if not value or not value <= REPLAYABLE:
            raise ValueError(f"holds some of {', '.join(sorted(REPLAYABLE))}")
        return value


async def requeue(
    pool: Pool,
    operator: Operator,
    message_ids: Iterable[int],
    *,
    progress: Progress | None = None,
    note: str | None = None,
) -> Acted:
    """Have the AI answer these messages again, with fresh attempts, at once.

    Left out, each with its reason, is whatever is not `inbound_error` or `inbound_human_takeover`, or is in a
    thread that a person owns. Raises BadInput without any id, ReadOnly.
    """

    async def batch(ids: list[int]) -> Acted:
        async with acting(pool, operator) as connection:
            await rows(
                connection,
                """SELECT FROM et_threads WHERE id IN (SELECT thread_id FROM et_messages WHERE id = ANY(%s))
                    ORDER BY id FOR UPDATE""",
                ids,
            )
            acted, before = sorted_out(await fetch(connection, "requeue", ids))
            if acted.done:
                await audit(
                    connection,
                    operator,
                    "replay",
                    named("message", acted.done),
                    before,
                    {"status": InboundStatus.RECEIVED, "message_ids": acted.done},
                    note,
                )
            return acted

    operator.may_act()
    return await in_batches(list(message_ids), batch, progress)


async def requeue_filter(
    pool: Pool, operator: Operator, which: ReplayFilter, *, progress: Progress | None = None
) -> Acted:
    """Replay every matching message; those that come to match while it runs are not among them.

    Raises BadInput when nothing matches, ReadOnly.
    """
    operator.may_act()
    ids = await matching(pool, which)
    return await requeue(
        pool, operator, ids, progress=progress, note=which.model_dump_json(exclude_none=True)
    )


async def count_matching(pool: Pool, which: MessageFilter) -> int:
    """How many messages match, to be confirmed before anything is done to them."""
    return len(await matching(pool, which))


async def matching(pool: Pool, which: MessageFilter) -> list[int]:
    """The ids of matching messages, the oldest first."""
    async with pool.connection() as connection:
        found = await connection.execute(_MATCHING, _values(which))
        return [row["id"] for row in await found.fetchall()]


_MATCHING = """
SELECT id FROM et_messages
 WHERE direction = 'inbound' AND delivery_status = ANY(%(status)s)
   AND (%(channel)s::text IS NULL OR channel = %(channel)s)
   AND (%(tenant_id)s::bigint IS NULL OR tenant_id = %(tenant_id)s)
   AND (%(thread_id)s::bigint IS NULL OR thread_id = %(thread_id)s)
   AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR created_at < %(until)s)
   AND (%(reason)s::text IS NULL OR starts_with(reason, %(reason)s))
 ORDER BY id LIMIT %(limit)s"""


def _values(which: MessageFilter) -> dict[str, Any]:
    return {**which.model_dump(), "status": sorted(which.status)}
