"""A demonstration without a console: so many messages, the trip of each, and a verdict."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TextIO

import psycopg
from pydantic import BaseModel

from engine.database.connection import to_json
from engine.demo.bistro import NAME
from engine.demo.customers import Written
from engine.demo.trips import judge, line, read_trips, usd
from engine.text import one_line

if TYPE_CHECKING:
    from engine.demo.scenario import Demo

LOOK_SECONDS = 0.1
SETTLE_SECONDS = 20.0
"""For what is under way when the last message has been written."""
PROBLEMS_SHOWN = 20
OUTAGE = "uniapi-outage"
OUTAGE_FROM = 0.25
"""Share of the messages that are written when UniAPI goes down."""
OUTAGE_SHARE = 0.12
"""Share of the messages that Z.ai answers before UniAPI is back."""


def announce(messages: int, *, json: bool, out: TextIO) -> None:
    """What is about to happen, while it starts."""
    what = f"{messages} messages of made-up customers to {NAME}; stand-ins answer for the language models"
    _tell(*_event(what), json=json, out=out)


def _event(what: str) -> tuple[str, dict[str, Any]]:
    """Something besides trips and summary, as a line and as a record."""
    return f"[simulated] ── {what} ──", {"type": "event", "simulated": True, "what": what}


def _tell(text: str, record: dict[str, Any], *, json: bool, out: TextIO) -> None:
    print(to_json(record) if json else text, file=out, flush=True)


class Figures(BaseModel):
    """Percentiles, in milliseconds."""

    p50_ms: float
    p95_ms: float


class Summary(BaseModel):
    """How a run went."""

    type: Literal["summary"] = "summary"
    simulated: Literal[True] = True
    ok: bool
    messages: int
    conversations: int
    seconds: float
    statuses: dict[str, int]
    reasons: dict[str, int]
    """Why messages got no reply of the AI's."""
    replies: dict[str, int]
    """By provider/model."""
    fallbacks: int
    """Replies of Z.ai's that UniAPI could not give."""
    received_to_replied: Figures | None
    replied_to_sent: Figures | None
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    unpriced: int
    problems: list[str]


class Outage:
    """UniAPI goes down in the middle of a run, until Z.ai has answered some messages."""

    def __init__(self, demo: Demo, messages: int) -> None:
        self._demo = demo
        self._from = max(1, round(messages * OUTAGE_FROM))
        self._enough = max(1, round(messages * OUTAGE_SHARE))
        self._state: Literal["to come", "on", "over"] = "to come"

    def step(self, written: int, through: bool) -> str | None:
        """Moves on if it is time to; what has happened, in words."""
        if self._state == "to come" and written >= self._from:
            self._state = "on"
            self._demo.toggle(OUTAGE)
            return "UniAPI answers 503 from now on"
        if self._state == "on" and (through or self._demo.llm.zai.total >= self._enough):
            self._state = "over"
            self._demo.toggle(OUTAGE)
            return "UniAPI is back"
        return None


class Run:
    """Watches a demonstration whose customers follow a plan of `messages`."""

    def __init__(self, demo: Demo, messages: int, *, json: bool, out: TextIO) -> None:
        self._demo, self._messages, self._json, self._out = demo, messages, json, out
        self._outage = Outage(demo, messages)
        self._told: set[int] = set()
        self._began = time.monotonic()

    def watch(self) -> Summary:
        """Tell each trip when the message is through, and sum up at the end."""
        with psycopg.connect(self._demo.database.dsn, autocommit=True) as connection:
            deadline = float("inf")
            while time.monotonic() < deadline:
                finished = self._demo.customers.finished
                written = self._demo.customers.written()
                self._tell_trips(connection, written)
                through = finished and len(self._told) == len(written)
                if news := self._outage.step(len(written), through):
                    self._say(*_event(news))
                if through:
                    break
                if finished and deadline == float("inf"):
                    deadline = time.monotonic() + SETTLE_SECONDS
                time.sleep(LOOK_SECONDS)
            summary = self._sum_up(connection, self._demo.customers.written())
        self._say("\n".join(summary_lines(summary)), summary.model_dump(mode="json"))
        return summary

    def _tell_trips(self, connection: psycopg.Connection[Any], written: Sequence[Written]) -> None:
        waiting = {message.id: message for message in written if message.id not in self._told}
        for trip, through in read_trips(connection, list(waiting.values())) if waiting else ():
            if through:
                judge(trip, waiting[trip.id], self._demo.channel)
                self._told.add(trip.id)
                self._say(line(trip), trip.model_dump(mode="json"))

    def _say(self, text: str, record: dict[str, Any]) -> None:
        _tell(text, record, json=self._json, out=self._out)

    def _sum_up(self, connection: psycopg.Connection[Any], written: Sequence[Written]) -> Summary:
        """Everything once more, since a message that was through may have been sent again."""
        by_id = {message.id: message for message in written}
        trips = []
        problems = []
        for trip, through in read_trips(connection, written):
            judge(trip, by_id[trip.id], self._demo.channel)
            if not through:
                trip.problems.append("it is still on its way")
            problems += [f"message {trip.id} ({trip.persona}): {problem}" for problem in trip.problems]
            trips.append(trip)
        problems += self._order_problems(connection)
        problems += self._count_problems(connection, len(trips))
        heads = [trip for trip in trips if trip.fate == "replied" and trip.answered_with is None]
        return Summary(
            ok=not problems,
            messages=len(trips),
            conversations=len({message.conversation for message in written}),
            seconds=round(time.monotonic() - self._began, 1),
            statuses=dict(Counter(trip.status for trip in trips)),
            reasons=dict(Counter(trip.fate for trip in trips if trip.fate != "replied")),
            replies=dict(Counter(f"{trip.provider}/{trip.model}" for trip in heads)),
            fallbacks=sum(trip.provider == "zai" and trip.llm_failures > 0 for trip in heads),
            received_to_replied=_percentiles(trip.received_to_replied_ms for trip in trips),
            replied_to_sent=_percentiles(trip.replied_to_sent_ms for trip in heads),
            prompt_tokens=sum(trip.prompt_tokens or 0 for trip in heads),
            completion_tokens=sum(trip.completion_tokens or 0 for trip in heads),
            cost_usd=round(sum(trip.cost_usd or 0.0 for trip in heads), 6),
            unpriced=sum(trip.cost_usd is None for trip in heads),
            problems=problems,
        )

    def _order_problems(self, connection: psycopg.Connection[Any]) -> Iterator[str]:
        """Customers must get answers in the order of what they answer."""
        answers = dict(
            connection.execute(
                "SELECT id, in_reply_to FROM et_messages WHERE in_reply_to IS NOT NULL"
            ).fetchall()
        )
        last: dict[str, int] = {}
        for arrival in self._demo.channel.arrivals():
            answered = answers.get(arrival.message_id)
            if answered is None:
                yield f"message {arrival.message_id} arrived but answers nothing"
                continue
            if answered < last.get(arrival.to, 0):
                yield f"the reply to {answered} arrived after that to {last[arrival.to]}"
            last[arrival.to] = answered

    def _count_problems(self, connection: psycopg.Connection[Any], trips: int) -> Iterator[str]:
        if trips != self._messages:
            yield f"{trips} of {self._messages} messages were written"
        row = connection.execute(
            """SELECT (SELECT count(*) FROM et_messages WHERE direction = 'inbound'),
                      (SELECT count(*) FROM et_outbound_queue WHERE outcome = 'unknown'),
                      (SELECT count(*) FROM et_outbound_queue WHERE status NOT IN ('sent', 'accepted', 'failed'))"""
        ).fetchone()
        assert row is not None
        stored, unknown, open_sends = row
        if stored != trips:
            yield f"{stored} messages are stored, {trips} were written"
        if unknown:
            yield f"{unknown} sends are of unknown outcome"
        if open_sends:
            yield f"{open_sends} sends are still open"


def _percentiles(values: Iterable[float | None]) -> Figures | None:
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    p50, p95 = (known[min(len(known) - 1, int(share * len(known)))] for share in (0.5, 0.95))
    return Figures(p50_ms=p50, p95_ms=p95)


def summary_lines(summary: Summary) -> list[str]:
    """The summary as a table, safe for a terminal."""
    rows = [
        ("messages", f"{summary.messages} in {summary.conversations} conversations, {summary.seconds} s"),
        *(("status", f"{name:<28}{count:>6}") for name, count in sorted(summary.statuses.items())),
        *(("no reply", f"{name:<28}{count:>6}") for name, count in sorted(summary.reasons.items())),
        *(("replies", f"{name:<28}{count:>6}") for name, count in sorted(summary.replies.items())),
        ("fallbacks", f"{'Z.ai for UniAPI':<28}{summary.fallbacks:>6}"),
        ("latency", _spans("received → replied", summary.received_to_replied)),
        ("latency", _spans("replied → sent", summary.replied_to_sent)),
        ("tokens", f"{summary.prompt_tokens} prompt + {summary.completion_tokens} completion"),
        ("cost", usd(summary.cost_usd) + (f", {summary.unpriced} unpriced" if summary.unpriced else "")),
        *(("problem", problem) for problem in summary.problems[:PROBLEMS_SHOWN]),
        ("verdict", _verdict(summary)),
    ]
    shown = [name for name, _ in rows]
    repeats = [False, *(one == other for one, other in pairwise(shown))]
    return [
        one_line(f"[simulated] {'' if repeated else name:<10} {told}", 600)
        for (name, told), repeated in zip(rows, repeats, strict=True)
    ]


def _spans(what: str, figures: Figures | None) -> str:
    if figures is None:
        return f"{what:<28}     –"
    return f"{what:<28}p50 {figures.p50_ms / 1000:.2f} s   p95 {figures.p95_ms / 1000:.2f} s"


def _verdict(summary: Summary) -> str:
    if summary.ok:
        return "✓ every message is where it belongs"
    return f"✗ {len(summary.problems)} problem(s)"
