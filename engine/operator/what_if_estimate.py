"""Which messages a what-if can try, and what that is likely to cost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Pool, Row
from engine.model import PROVIDERS, Usage
from engine.operator.agent_versions import KEEP, Keep
from engine.operator.audit import rows

REACH = 25_000
"""Messages that are looked at, at most, for those of one agent."""


class Estimate(BaseModel):
    """What a what-if is likely to cost."""

    model_config = ConfigDict(frozen=True)

    messages: int
    usd: Decimal | None
    """From what these messages' turns cost before, or for other routes from the tokens they used and the price of
    the first of those; None when that is not known."""
    known: int
    """Messages whose former cost or tokens are known; the others are taken to be the average of these."""


async def eligible(pool: Pool, agent_id: int, message_ids: Sequence[int]) -> list[int]:
    """Of these messages those that this agent answered, or nobody yet: each burst once, the oldest first."""
    async with pool.connection() as connection:
        found = await rows(connection, _ELIGIBLE, agent_id, list(message_ids))
    return [row["id"] for row in found]


async def newest_eligible(
    pool: Pool, agent_id: int, find: Callable[[int], Awaitable[list[int]]], limit: int
) -> list[int]:
    """The newest `limit` of those that are `eligible`, the oldest first. `find` gives so many of the newest ids.

    Other agents' messages between them do not count: it is looked further back then, up to `REACH` messages.
    """
    reach = limit
    while True:
        ids = await find(reach)
        found = await eligible(pool, agent_id, ids)
        if len(found) >= limit or len(ids) < reach or reach >= REACH:
            return found[-limit:]
        reach = min(REACH, reach * 4)


async def estimate(pool: Pool, message_ids: Sequence[int], routing: Any | Keep = KEEP) -> Estimate:
    """What running these messages once is likely to cost, by the routes of before or by others."""
    ids = list(message_ids)
    async with pool.connection() as connection:
        told = (await rows(connection, _ESTIMATE, ids))[0]
        used = (await rows(connection, _TOKENS, ids))[0]
    if routing is KEEP or routing is None:
        known, each = told["known"], told["average"]
    else:
        known, each = used["known"], _price_of_one(routing, used)
    usd = None if each is None else each * len(ids)
    return Estimate(messages=len(ids), usd=usd, known=known)


def _price_of_one(routing: Any, used: Row) -> Decimal | None:
    """USD of a turn of so many tokens by the first route of a conversation; a model that reasons more costs more."""
    from engine.llm.pricing import price
    from engine.llm.routing import parse_routing

    if used["prompt"] is None:
        return None
    config = parse_routing(routing, PROVIDERS)
    route = config.routes("conversation")[0]
    return price(
        route.provider,
        route.model,
        Usage(
            prompt_tokens=round(used["prompt"]),
            completion_tokens=round(used["completion"] or 0),
            total_tokens=round(used["total"] or 0),
        ),
        multiplier=config.price_multiplier.get(route.provider, Decimal(1)),
        overrides=config.price_overrides,
    )


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
         ORDER BY message_id, kind = 'dry_run', id DESC) t"""

_TOKENS = """
SELECT count(*) AS known, avg(prompt_tokens) AS prompt, avg(completion_tokens) AS completion,
       avg(total_tokens) AS total
  FROM (SELECT DISTINCT ON (message_id) prompt_tokens, completion_tokens, total_tokens FROM et_turns
         WHERE message_id = ANY(%s) AND prompt_tokens IS NOT NULL
         ORDER BY message_id, kind = 'dry_run', id DESC) t"""
