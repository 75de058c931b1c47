"""The trip of each message a simulated customer wrote, read from the database and judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import psycopg
from psycopg.rows import dict_row
from pydantic import BaseModel, Field

from engine.demo.channel_far_end import ChannelFarEnd
from engine.demo.customers import Written
from engine.model import InboundStatus, OutboundStatus, Outcome
from engine.text import one_line

TEXT_LIMIT = 34
WAIT_FOR_RECEIPT = timedelta(seconds=1.5)
"""A message that was sent this long ago is through, even if no receipt came."""
SEND_ENDS = frozenset({OutboundStatus.SENT, OutboundStatus.ACCEPTED, OutboundStatus.FAILED})

_READ = b"""
SELECT m.id, m.thread_id, m.delivery_status, m.reason, m.last_error, m.attempts, m.turn_head_id, m.created_at,
       m.claimed_at, m.replied_at, now() AS now,
       r.id AS reply_id, r.sent_at, r.delivered_at, to_jsonb(r) AS reply,
       q.status AS send_status, q.outcome, q.error_class, q.attempts AS send_attempts, q.send_started_at,
       (SELECT count(*) FROM jsonb_array_elements(t.attempts) a WHERE NOT (a->>'ok')::boolean) AS llm_failures
  FROM et_messages m
  LEFT JOIN et_messages r ON r.in_reply_to = coalesce(m.turn_head_id, m.id) AND r.direction = 'outbound'
                         AND r.author = 'ai'
  LEFT JOIN et_outbound_queue q ON q.message_id = r.id
  LEFT JOIN et_turns t ON t.reply_message_id = r.id
 WHERE m.id = ANY (%s)
 ORDER BY m.id, r.id
"""


class DemoTrip(BaseModel):
    """One message and what became of it."""

    type: Literal["trip"] = "trip"
    simulated: Literal[True] = True
    id: int
    thread_id: int | None
    persona: str
    text: str
    """Sanitised, on one line, cut."""
    statuses: list[str]
    """Of the message itself, in order."""
    send_statuses: list[str] = Field(default_factory=list)
    """Of the reply, in order; `delivered` is its receipt."""
    reason: str | None = None
    """Why there is no reply, or why it was not sent."""
    answered_with: int | None = None
    """The earlier message of the same burst that carries the reply."""
    reply_id: int | None = None
    provider: str | None = None
    model: str | None = None
    llm_failures: int = 0
    """LLM calls that failed, or were not made, before the one that gave the reply."""
    received_to_replied_ms: float | None = None
    replied_to_sent_ms: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: float | None = None
    """At list price; None is unknown. Of a burst, its first message has it."""
    outcome: str | None = None
    """Of the send."""
    problems: list[str] = Field(default_factory=list)
    """What is not as it should be."""

    @property
    def status(self) -> str:
        return self.statuses[-1]

    @property
    def fate(self) -> str:
        """What became of it in a word: `replied`, or why not."""
        if self.status == InboundStatus.AI_REPLIED:
            return "replied"
        return self.reason or self.status if self.status == InboundStatus.HUMAN_TAKEOVER else self.status


def read_trips(
    connection: psycopg.Connection[Any], written: Sequence[Written]
) -> list[tuple[DemoTrip, bool]]:
    """The trips of these messages, and whether each is through. One without a row is left out."""
    rows: dict[int, list[dict[str, Any]]] = defaultdict(list)
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(_READ, [[message.id for message in written]]):
            rows[row["id"]].append(row)
    return [
        (_trip(message, rows[message.id]), _is_through(rows[message.id][0]))
        for message in written
        if message.id in rows
    ]


def _is_through(row: dict[str, Any]) -> bool:
    if row["delivery_status"] in (InboundStatus.HUMAN_TAKEOVER, InboundStatus.ERROR):
        return True
    if row["delivery_status"] != InboundStatus.AI_REPLIED or row["send_status"] not in SEND_ENDS:
        return False
    if row["send_status"] == OutboundStatus.FAILED or row["delivered_at"] is not None:
        return True
    return row["sent_at"] is not None and bool(row["now"] - row["sent_at"] > WAIT_FOR_RECEIPT)


def _trip(message: Written, rows: list[dict[str, Any]]) -> DemoTrip:
    row = rows[0]
    reply = row["reply"] or {}
    counted = reply if row["turn_head_id"] is None else {}
    trip = DemoTrip(
        id=message.id,
        thread_id=row["thread_id"],
        persona=message.persona,
        text=one_line(message.text, TEXT_LIMIT) or f"({message.kind})",
        statuses=_statuses(row),
        send_statuses=_send_statuses(row),
        reason=row["reason"] or row["error_class"],
        answered_with=row["turn_head_id"],
        reply_id=row["reply_id"],
        provider=reply.get("llm_provider"),
        model=reply.get("llm_model"),  # a fault of the demonstration drops this column
        llm_failures=row["llm_failures"] or 0,
        received_to_replied_ms=_ms(row["created_at"], row["replied_at"]),
        replied_to_sent_ms=_ms(row["replied_at"], row["sent_at"]),
        prompt_tokens=counted.get("llm_prompt_tokens"),
        completion_tokens=counted.get("llm_completion_tokens"),
        cost_usd=counted.get("llm_estimated_cost_usd"),
        outcome=row["outcome"],
    )
    if len(rows) > 1:
        trip.problems.append(f"it has {len(rows)} replies")
    return trip


def _statuses(row: dict[str, Any]) -> list[str]:
    """What the times and counters of a row tell of its way."""
    status = str(row["delivery_status"])
    way = [InboundStatus.RECEIVED.value]
    for _ in range(row["attempts"]):
        if way[-1] != InboundStatus.RECEIVED:
            way.append(InboundStatus.RECEIVED)
        way.append(InboundStatus.PROCESSING)
    return way if way[-1] == status else [*way, status]


def _send_statuses(row: dict[str, Any]) -> list[str]:
    if row["send_status"] is None:
        return []
    way = [OutboundStatus.QUEUED.value]
    for attempt in range(row["send_attempts"]):
        if attempt:
            way += [OutboundStatus.RETRY_SCHEDULED, OutboundStatus.QUEUED]
        way.append(OutboundStatus.PROCESSING)
    if way[-1] != row["send_status"]:
        way.append(row["send_status"])
    return [*way, "delivered"] if row["delivered_at"] else way


def _ms(since: datetime | None, until: datetime | None) -> float | None:
    return None if since is None or until is None else round((until - since).total_seconds() * 1000, 1)


def judge(trip: DemoTrip, written: Written, far_end: ChannelFarEnd) -> None:
    """Adds what is not as it should be to the trip's problems."""
    if trip.fate not in written.fate:
        trip.problems.append(f"expected {' or '.join(sorted(written.fate))}, not {trip.fate}")
    if trip.fate != "replied":
        return
    if trip.reply_id is None:
        trip.problems.append("it is replied but has no reply")
        return
    arrived = far_end.count(trip.reply_id)
    if arrived != 1:
        trip.problems.append(f"its reply arrived {arrived} times")
    if trip.outcome != Outcome.CONFIRMED:
        trip.problems.append(f"its reply's outcome is {trip.outcome or 'open'}")


def line(trip: DemoTrip) -> str:
    """A trip on one line, safe for a terminal."""
    way = "→".join(status.removeprefix("inbound_") for status in trip.statuses)
    if trip.answered_with is None and trip.send_statuses:
        way += " ▸ " + "→".join(trip.send_statuses)
    parts = [f"[simulated] #{trip.id:<4} {trip.persona:<8} “{trip.text}”".ljust(31 + TEXT_LIMIT), way]
    if trip.answered_with is not None:
        parts.append(f"answered with #{trip.answered_with}")
    elif trip.fate == "replied":
        parts += [f"{trip.provider}/{trip.model}", _times(trip), _figures(trip)]
    if trip.llm_failures and trip.answered_with is None:
        parts.append("fallback")
    if trip.reason:
        parts.append(trip.reason)
    if trip.problems:
        parts.append("✗ " + "; ".join(trip.problems))
    return one_line("  ".join(parts), 600)


def _times(trip: DemoTrip) -> str:
    spans = (trip.received_to_replied_ms, trip.replied_to_sent_ms)
    return " + ".join("…" if ms is None else f"{ms / 1000:.2f} s" for ms in spans)


def _figures(trip: DemoTrip) -> str:
    return f"{trip.prompt_tokens}+{trip.completion_tokens} tokens  {usd(trip.cost_usd)}"


def usd(amount: float | None) -> str:
    """An amount with the digits that single answers need."""
    return "unpriced" if amount is None else f"${amount:.6f}"
