"""Why has this message no reply, or this one: by this route, so late, so dear? From the records alone."""

from __future__ import annotations

import json

import psycopg
from pydantic import BaseModel, ConfigDict

from engine.database.connection import Pool, fetch
from engine.model import InboundStatus, SwitchboardError
from engine.observe.explain_turn import (
    USUAL_DAYS,
    Dear,
    Routed,
    Slow,
    why_dear,
    why_slow,
    why_this_route,
)
from engine.observe.no_reply import Facts, explain, reply_facts
from engine.observe.reasons import reason_of
from engine.observe.timeline import Timeline, turn_timeline
from engine.text import one_line


class NoMessage(SwitchboardError):
    """There is no message with that id."""


class Explanation(BaseModel):
    """Why a message has no reply, or the one it has. Every text is safe to show."""

    model_config = ConfigDict(frozen=True)

    message_id: int
    why: str
    """Why no reply, or how far the reply came, in one sentence."""
    reason: str | None
    """The code that is kept with it."""
    meaning: str | None
    """What that code means, in one sentence."""
    remedy: str | None
    """What to do about it; None when nothing went wrong, or `why` tells."""
    route: Routed
    slow: Slow
    dear: Dear
    timeline: Timeline


async def explanation(pool: Pool, message_id: int) -> Explanation:
    """All about one message. Raises NoMessage, or SwitchboardError when the schema is not right."""
    try:
        trip = await turn_timeline(pool, message_id)
        async with pool.connection() as connection:
            facts = await reply_facts(connection, message_id)
            more = await fetch(connection, "why_turn", message_id, USUAL_DAYS)
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        raise SwitchboardError(
            "The database schema is not the one needed.", "Run: switchboard migrate."
        ) from None
    if trip is None or facts is None or not more:
        raise NoMessage(f"There is no message {message_id}.", "Look it up again.")
    turn_facts = json.loads(more[0]["facts"])
    code = _code(facts)
    known = reason_of(code)
    return Explanation(
        message_id=message_id,
        why=explain(facts),
        reason=code and one_line(code, 100),
        meaning=known and known.meaning,
        remedy=known and known.remedy,
        route=why_this_route(turn_facts, thinking=facts["status"] == InboundStatus.PROCESSING),
        slow=why_slow(trip, turn_facts),
        dear=why_dear(turn_facts),
        timeline=trip,
    )


def _code(facts: Facts) -> str | None:
    """The code that tells why it ended as it did: of the send once there is a reply, else of the turn."""
    code: str | None
    if facts["status"] == InboundStatus.AI_REPLIED:
        code = facts["reply"]["reason"] if facts["reply"] else None
    elif facts["human_reply"]:
        code = None
    else:
        code = facts["reason"] or (facts["turn"]["reason"] if facts["turn"] else None)
    return code
