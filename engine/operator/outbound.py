"""What a person can do with sends: try a failed one again, hold a waiting one back, settle an unknown one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from engine.database.connection import Pool, fetch
from engine.model import OutboundStatus, Outcome
from engine.operator.audit import Operator, acting, audit, rows
from engine.operator.bulk import LIMIT, Acted, Progress, in_batches, named, sorted_out

Act = Literal["retry", "resend", "cancel", "mark_sent"]
"""`resend` is `retry` of what may have arrived already, too."""


class SendFilter(BaseModel):
    """Which sends; every condition given must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: frozenset[OutboundStatus] = frozenset({OutboundStatus.FAILED})
    outcome: Outcome | None = None
    channel: str | None = None
    account: str | None = None
    tenant_id: int | None = None
    thread_id: int | None = None
    error_class: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = Field(LIMIT, ge=1, le=LIMIT)
    """The oldest ones first."""


async def retry_send(pool: Pool, operator: Operator, queue_id: int, *, resend: bool = False) -> None:
    """Queue a failed send again. One whose outcome is unknown only with `resend`, once the person has agreed
    that the customer may get it twice. Raises Refused, ReadOnly."""
    act: Act = "resend" if resend else "retry"
    (await act_on_sends(pool, operator, act, [queue_id])).only(f"Send {queue_id}")


async def cancel_send(pool: Pool, operator: Operator, queue_id: int) -> None:
    """Do not send what waits to be sent. Raises Refused, ReadOnly."""
    (await act_on_sends(pool, operator, "cancel", [queue_id])).only(f"Send {queue_id}")


async def mark_sent(pool: Pool, operator: Operator, queue_id: int) -> None:
    """Settle a send of unknown outcome: it did arrive. Raises Refused, ReadOnly."""
    (await act_on_sends(pool, operator, "mark_sent", [queue_id])).only(f"Send {queue_id}")


async def act_on_sends(
    pool: Pool,
    operator: Operator,
    act: Act,
    queue_ids: Iterable[int],
    *,
    progress: Progress | None = None,
    note: str | None = None,
) -> Acted:
    """Do `act` to each of these sends that allows it. Raises BadInput without any id, ReadOnly."""

    async def batch(ids: list[int]) -> Acted:
        async with acting(pool, operator) as connection:
            await rows(
                connection,
                """SELECT FROM et_threads
                    WHERE id IN (SELECT thread_id FROM et_outbound_queue WHERE id = ANY(%s))
                    ORDER BY id FOR UPDATE""",
                ids,
            )
            name, *flags = _STATEMENTS[act]
            acted, before = sorted_out(await fetch(connection, name, ids, *flags))
            if acted.done:
                after = {"queue_ids": acted.done}
                await audit(
                    connection, operator, f"send.{act}", named("send", acted.done), before, after, note
                )
            return acted

    operator.may_act()
    return await in_batches(list(queue_ids), batch, progress)


async def act_on_matching(
    pool: Pool, operator: Operator, act: Act, which: SendFilter, *, progress: Progress | None = None
) -> Acted:
    """Do `act` to every matching send that allows it. Raises BadInput when nothing matches, ReadOnly."""
    operator.may_act()
    ids = await _matching(pool, which)
    note = which.model_dump_json(exclude_none=True)
    return await act_on_sends(pool, operator, act, ids, progress=progress, note=note)


async def count_sends(pool: Pool, which: SendFilter) -> int:
    """How many sends match, to be confirmed before a bulk act."""
    return len(await _matching(pool, which))


async def _matching(pool: Pool, which: SendFilter) -> list[int]:
    async with pool.connection() as connection:
        found = await connection.execute(_MATCHING, _values(which))
        return [row["id"] for row in await found.fetchall()]


_STATEMENTS: dict[Act, tuple[Any, ...]] = {
    "retry": ("retry_sends", False),
    "resend": ("retry_sends", True),
    "cancel": ("cancel_sends",),
    "mark_sent": ("mark_sends_sent",),
}

_MATCHING = """
SELECT id FROM et_outbound_queue
 WHERE status = ANY(%(status)s)
   AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
   AND (%(channel)s::text IS NULL OR channel = %(channel)s)
   AND (%(account)s::text IS NULL OR account = %(account)s)
   AND (%(tenant_id)s::bigint IS NULL OR tenant_id = %(tenant_id)s)
   AND (%(thread_id)s::bigint IS NULL OR thread_id = %(thread_id)s)
   AND (%(error_class)s::text IS NULL OR error_class = %(error_class)s)
   AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
   AND (%(until)s::timestamptz IS NULL OR created_at < %(until)s)
 ORDER BY id LIMIT %(limit)s"""


def _values(which: SendFilter) -> dict[str, Any]:
    return {**which.model_dump(), "status": sorted(which.status)}
