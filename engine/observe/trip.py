"""One message put in as any provider would, and followed on its trip to the customer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from engine.database.connection import Connection, connect, to_json
from engine.model import InboundStatus, OutboundStatus, SwitchboardError
from engine.observe.access import refusals
from engine.observe.reading import ALIVE_SECONDS
from engine.text import clean_for_storage

LOOK_SECONDS = 0.03
#: Nothing more happens to the message by itself.
INBOUND_ENDS = frozenset({InboundStatus.HUMAN_TAKEOVER, InboundStatus.ERROR})
OUTBOUND_ENDS = frozenset({OutboundStatus.SENT, OutboundStatus.ACCEPTED, OutboundStatus.FAILED})


class NoEngine(SwitchboardError):
    """There is nobody to follow."""


class Stage(BaseModel):
    """A change that was seen."""

    at: datetime
    """By the database's clock."""
    ms: float
    """Since the message was put in."""
    side: str
    """`inbound` or `outbound`."""
    status: str
    detail: str = ""


class Trip(BaseModel):
    """A message and what became of it."""

    message_id: int
    thread_id: int | None = None
    ended: bool = False
    """False when the time was over first."""
    delivered: bool = False
    """Its reply is `sent` or `accepted`."""
    stages: list[Stage] = Field(default_factory=list)
    reply: dict[str, Any] | None = None
    """The reply's row in `et_messages`, with `queue_status` and `queue_outcome` of its send."""


async def inject(
    dsn: str,
    text: str,
    *,
    sender: str,
    channel: str = "simulator",
    tenant_id: int = 1,
    need_engine: bool = False,
) -> Trip:
    """Insert an inbound message with the core columns alone, as a provider does; its trip so far: id and thread.

    On the channel `simulator` it is marked as simulated. Raises NoEngine, before anything is stored, when an
    engine is needed and none is alive.
    """
    payload = {"from": clean_for_storage(sender)} | ({"simulated": True} if channel == "simulator" else {})
    async with _connection(dsn) as connection:
        if need_engine and not await _engine_alive(connection):
            raise NoEngine("No engine is running.", "Start one: switchboard engine (or the console).")
        cursor = await connection.execute(
            "INSERT INTO et_messages (tenant_id, channel, direction, text_content, raw_payload, delivery_status)"
            " VALUES (%s, %s, 'inbound', %s, %s, 'received') RETURNING id, thread_id",
            [tenant_id, clean_for_storage(channel), clean_for_storage(text), to_json(payload)],
        )
        row = await cursor.fetchone()
    assert row is not None
    return Trip(message_id=row["id"], thread_id=row["thread_id"])


async def follow(
    dsn: str, message_id: int, *, seconds: float, on_stage: Callable[[Stage], None] = lambda _: None
) -> Trip:
    """Watch a message until its reply has left, it ended otherwise, or `seconds` are over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    trip = Trip(message_id=message_id)
    async with _connection(dsn) as connection:
        while True:
            row = await _look(connection, message_id)
            for stage in _news(trip, row):
                trip.stages.append(stage)
                on_stage(stage)
            if trip.ended or loop.time() > deadline:
                return trip
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def _connection(dsn: str) -> AsyncIterator[Connection]:
    """A connection whose refusals come with a remedy."""
    async with await connect(dsn) as connection:
        with refusals():
            yield connection


async def _engine_alive(connection: Connection) -> bool:
    cursor = await connection.execute(
        "SELECT FROM et_engines WHERE stopped_at IS NULL"
        " AND heartbeat_at > clock_timestamp() - make_interval(secs => %s) LIMIT 1",
        [ALIVE_SECONDS],
    )
    return await cursor.fetchone() is not None


_LOOK = """
SELECT m.thread_id, m.delivery_status AS status, m.reason, m.last_error, clock_timestamp() AS now,
       extract(epoch FROM clock_timestamp() - m.created_at)::float * 1000 AS ms,
       to_jsonb(r) AS reply, q.status AS queue_status, q.outcome AS queue_outcome, q.last_error AS queue_error
  FROM et_messages m
  LEFT JOIN et_messages r ON r.in_reply_to = coalesce(m.turn_head_id, m.id) AND r.direction = 'outbound'
                         AND r.author = 'ai'
  LEFT JOIN et_outbound_queue q ON q.message_id = r.id
 WHERE m.id = %s
"""


async def _look(connection: Connection, message_id: int) -> dict[str, Any]:
    row = await (await connection.execute(_LOOK, [message_id])).fetchone()
    if row is None:
        raise SwitchboardError(f"Message {message_id} does not exist.", "Look it up again.")
    return row


def _news(trip: Trip, row: dict[str, Any]) -> list[Stage]:
    """What has changed since the last look; brings `trip` up to date."""
    trip.thread_id = row["thread_id"]
    told = {stage.side: stage.status for stage in trip.stages}
    news = []
    if told.get("inbound") != row["status"]:
        detail = row["last_error"] or row["reason"] or ""
        news.append(Stage(at=row["now"], ms=row["ms"], side="inbound", status=row["status"], detail=detail))
    if row["queue_status"] and told.get("outbound") != row["queue_status"]:
        detail = row["queue_error"] or row["queue_outcome"] or ""
        news.append(
            Stage(at=row["now"], ms=row["ms"], side="outbound", status=row["queue_status"], detail=detail)
        )
    if row["reply"]:
        trip.reply = row["reply"] | {key: row[key] for key in ("queue_status", "queue_outcome")}
    trip.delivered = row["queue_status"] in (OutboundStatus.SENT, OutboundStatus.ACCEPTED)
    trip.ended = row["queue_status"] in OUTBOUND_ENDS or row["status"] in INBOUND_ENDS
    return news
