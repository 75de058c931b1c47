"""Where the time of a message went: the spans of its trip, for a waterfall.

waiting ─ context ─ llm … ─ policy ─┬─ queued ─ sending ─ delivery ─ reading
(again for every further turn)      └─ with a person ─┘
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Pool, fetch
from engine.model import InboundStatus, OutboundStatus, TurnOutcome
from engine.text import one_line

Times = dict[str, Any]
SpanName = Literal[
    "waiting",
    "claimed",
    "context",
    "llm",
    "policy",
    "with a person",
    "queued",
    "sending",
    "delivery",
    "reading",
]
SKEW_SECONDS = 2.0
"""LLM calls are timed by the engine's clock; one that is off by more than this is set right by the turn's."""
DETAIL_LIMIT = 200


class Span(BaseModel):
    """A stretch of a message's trip."""

    model_config = ConfigDict(frozen=True)

    name: SpanName
    start_ms: float
    """Since the trip began."""
    end_ms: float | None
    """None: still going on."""
    ok: bool = True
    detail: str = ""
    """A model, an error, a rule; safe to show, on one line."""
    turn_id: int | None = None


class Timeline(BaseModel):
    """A message's trip."""

    model_config = ConfigDict(frozen=True)

    message_id: int
    """The one that was asked for."""
    began_at: datetime
    """By the database's clock, as all times but those of LLM calls."""
    total_ms: float
    """To the end of the last span; of a trip that goes on, until now."""
    ended: bool
    spans: list[Span]


class _Moment(NamedTuple):
    """A span in absolute times."""

    name: SpanName
    start: datetime
    end: datetime | None
    ok: bool = True
    detail: str = ""
    turn_id: int | None = None


async def turn_timeline(pool: Pool, message_id: int) -> Timeline | None:
    """The trip of an inbound message, or of one of ours; None when there is no such message."""
    async with pool.connection() as connection:
        rows = await fetch(connection, "turn_timeline", message_id)
    return timeline(message_id, json.loads(rows[0]["times"])) if rows else None


def timeline(message_id: int, times: Times) -> Timeline:
    """The spans of what `turn_timeline.sql` found."""
    inbound, answer = times["inbound"], times["answer"]
    moments: list[_Moment] = []
    if inbound:
        moments += _before_the_answer(inbound, times["turns"], answer)
    if answer:
        moments += _after_the_answer(answer)
    began_at = _at((inbound or answer)["created_at"])
    now = _at(times["now"])
    spans = [_span(moment, began_at) for moment in moments]
    ended = all(moment.end is not None for moment in moments)
    last = max((moment.end or now for moment in moments), default=began_at)
    return Timeline(
        message_id=message_id, began_at=began_at, total_ms=_ms(began_at, last), ended=ended, spans=spans
    )


def _before_the_answer(inbound: Times, turns: list[Times], answer: Times | None) -> list[_Moment]:
    """Waiting and turns, in order, and what is going on now."""
    moments: list[_Moment] = []
    free = _at(inbound["created_at"])
    for turn in turns:
        started = _at(turn["started_at"] or turn["finished_at"])
        moments.append(_Moment("waiting", free, max(started, free)))
        moments += _turn(turn, started)
        free = _at(turn["finished_at"])
    match inbound["status"]:
        case InboundStatus.RECEIVED:
            moments.append(_Moment("waiting", free, None))
        case InboundStatus.PROCESSING:
            claimed = max(_at(inbound["claimed_at"]), free)
            moments.append(_Moment("waiting", free, claimed))
            moments.append(_Moment("claimed", claimed, None, detail=_line(inbound["engine"])))
        case InboundStatus.HUMAN_TAKEOVER:
            parked = max(_at(inbound["updated_at"]), free)
            if not turns:
                moments.append(_Moment("waiting", free, parked))
            replied = _at(answer["created_at"]) if answer else None
            detail = _line(inbound["reason"])
            moments.append(_Moment("with a person", parked, replied and max(replied, parked), detail=detail))
    return moments


def _turn(turn: Times, started: datetime) -> list[_Moment]:
    finished = _at(turn["finished_at"])
    said = _line(turn["error"] or turn["reason"])
    ended_well = turn["outcome"] in (TurnOutcome.REPLIED, TurnOutcome.DRAFTED)
    if turn["context_at"] is None:  # a rule decided before the model was asked
        verdicts = [verdict for verdict in turn["verdicts"] if isinstance(verdict, Mapping)]
        rules = [verdict.get("rule") for verdict in verdicts if verdict.get("verdict") == "block"]
        detail = said or _line(rules[0] if rules else "")
        return [_Moment("policy", started, finished, ended_well, detail, turn["id"])]
    context_at, answered_at = _at(turn["context_at"]), _at(turn["answered_at"] or turn["finished_at"])
    return [
        _Moment("context", started, context_at, turn_id=turn["id"]),
        *_calls(turn, answered_at),
        _Moment("policy", answered_at, finished, ended_well, "" if ended_well else said, turn["id"]),
    ]


def _calls(turn: Times, answered_at: datetime) -> list[_Moment]:
    """Every attempt at a provider; those that were skipped take no time."""
    calls = [
        (_at(attempt["started_at"]), attempt) for attempt in turn["attempts"] if attempt.get("started_at")
    ]
    if not calls:
        return []
    last_start, last = calls[-1]
    shift = answered_at - (last_start + timedelta(milliseconds=last["latency_ms"]))
    if abs(shift.total_seconds()) <= SKEW_SECONDS:
        shift = timedelta()
    moments = []
    for start, attempt in calls:
        begun = start + shift
        name = f"{attempt['provider']}/{attempt['model']}"
        trouble = "skipped" if attempt.get("skipped") else attempt.get("failure") or "failed"
        detail = name if attempt["ok"] else f"{name}: {trouble} {attempt.get('error') or ''}"
        end = begun + timedelta(milliseconds=attempt["latency_ms"])
        moments.append(_Moment("llm", begun, end, attempt["ok"], _line(detail), turn["id"]))
    return moments


def _after_the_answer(answer: Times) -> list[_Moment]:
    """The send, and what the receipts tell."""
    moments: list[_Moment] = []
    created, status = _at(answer["created_at"]), answer["status"]
    started, sent = _when(answer["send_started_at"]), _when(answer["sent_at"])
    gave_up = _when(answer["finished_at"]) if status == OutboundStatus.FAILED else None
    failed = status == OutboundStatus.FAILED
    said = _line(answer["error"]) if failed or status == OutboundStatus.RETRY_SCHEDULED else ""
    waits = status in (OutboundStatus.QUEUED, OutboundStatus.RETRY_SCHEDULED)
    if answer["queued"] and (waits or started is None):
        # A retry waits again: what its earlier tries took is part of the wait.
        moments.append(_Moment("queued", created, gave_up, not failed, said))
    elif answer["queued"] and started is not None:
        moments.append(_Moment("queued", created, started))
        tries = f"attempt {answer['attempts']}" if (answer["attempts"] or 0) > 1 else ""
        moments.append(_Moment("sending", started, sent or gave_up, not failed, said or tries))
    elif sent is not None and sent > created:
        moments.append(_Moment("sending", created, sent))
    delivered, read = _when(answer["delivered_at"]), _when(answer["read_at"])
    if sent is not None and delivered is not None:
        moments.append(_Moment("delivery", sent, max(delivered, sent)))
    if read is not None and delivered is not None:
        moments.append(_Moment("reading", delivered, max(read, delivered)))
    return moments


def _span(moment: _Moment, began_at: datetime) -> Span:
    end = None if moment.end is None else _ms(began_at, max(moment.end, moment.start))
    return Span(
        name=moment.name,
        start_ms=_ms(began_at, moment.start),
        end_ms=end,
        ok=moment.ok,
        detail=moment.detail,
        turn_id=moment.turn_id,
    )


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _when(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _ms(began_at: datetime, at: datetime) -> float:
    return round((at - began_at).total_seconds() * 1000, 3)


def _line(text: object) -> str:
    return one_line(str(text or ""), DETAIL_LIMIT).strip()
