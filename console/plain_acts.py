"""What the operator's commands print."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from console.words import span as took

if TYPE_CHECKING:
    from engine.observe.explain import Explanation
    from engine.observe.timeline import Timeline
    from engine.operator.bulk import Acted
    from engine.operator.dry_run import DryRun, TurnSide
    from engine.operator.pause import Switched
    from engine.operator.takeover import Release, Takeover

COLUMN = 54
"""Columns of each of two texts side by side."""
NAME = 9
MOST_NAMED = 20
"""Ids told one by one; of more, each reason has a count."""


def acted_lines(acted: Acted) -> Iterator[str]:
    """How many, and what was left out."""
    yield f"{_count(acted.count, 'message')} replayed"
    if len(acted.skipped) <= MOST_NAMED:
        yield from (f"✗ message {message}: {reason}" for message, reason in acted.skipped.items())
    else:
        yield from (f"✗ {_count(number, 'message')}: {reason}" for reason, number in acted.reasons.items())


def takeover_lines(taken: Takeover, operator: str) -> Iterator[str]:
    """What a takeover did."""
    until = f"until {taken.auto_release_at:%Y-%m-%d %H:%M} UTC" if taken.auto_release_at else "for good"
    yield f"Thread {taken.thread_id} is answered by {operator}, {until}"
    if taken.already_owner and taken.previous_operator not in (None, operator):
        yield f"· {_line(taken.previous_operator or '')} had it before"
    yield f"· {_count(taken.parked_messages, 'message')} waiting, {_count(taken.cancelled_sends, 'send')} cancelled"
    if taken.turn_running:
        yield "· what the AI is writing becomes a draft"
    if taken.sends_in_flight:
        yield f"! {_count(taken.sends_in_flight, 'send')} of the AI on the way already"


def release_line(done: Release) -> str:
    """What a hand-back did."""
    if done.already_ai:
        return f"Thread {done.thread_id} is the AI's already"
    return (
        f"Thread {done.thread_id} is the AI's again: {_count(done.answered_by_ai, 'message')} answered now, "
        f"{done.left_parked} left with people"
    )


def switched_line(done: Switched) -> str:
    """What the kill switch did."""
    kind, _, name = done.subject.partition(":")
    where = {"channel": f"on {_line(name)}", "thread": f"in thread {name}"}.get(kind, "everywhere")
    waiting = f"{_count(done.waiting, 'message')} waiting"
    if done.paused:
        return f"The AI is paused {where}{'' if done.changed else ' already'}, {waiting}"
    return f"The AI answers {where} {'again' if done.changed else 'already'}, {waiting}"


def explanation_lines(told: Explanation) -> Iterator[str]:
    """Why there is no reply, or why it is as it is, and its trip."""
    yield told.why
    if told.remedy:
        yield f"What to do: {told.remedy}"
    yield f"Why this route? {told.route.sentence}"
    yield f"Why so slow? {told.slow.sentence}"
    for share in told.slow.shares:
        yield f"{took(share.ms):>10}  {share.percent:>5.1f} %  {share.name}"
    yield f"Why so dear? {told.dear.sentence}"
    yield from timeline_lines(told.timeline)


def timeline_lines(timeline: Timeline) -> Iterator[str]:
    """A message's trip, a span a line."""
    for span in timeline.spans:
        lasted = "goes on" if span.end_ms is None else took(span.end_ms - span.start_ms)
        detail = f"  {span.detail}" if span.detail else ""
        yield f"{took(span.start_ms):>10}  {'✓' if span.ok else '✗'} {span.name:<14}{lasted:>10}{detail}".rstrip()
    word = "in all" if timeline.ended else "so far"
    yield f"{took(timeline.total_ms):>10}  {word}, since {timeline.began_at:%Y-%m-%d %H:%M:%S} UTC"


def dry_run_lines(run: DryRun) -> Iterator[str]:
    """Then and now, side by side."""
    old, new = run.old, run.new
    verdict = (
        "nothing to compare with" if old is None else "the same text" if run.same_text else "another text"
    )
    yield f"Dry run of message {run.message_id}, nothing is sent: {verdict}"
    yield _row("", "then", "now")
    before = _figures(old) if old else {}
    for name, now in _figures(new).items():
        yield _row(name, before.get(name, "–"), now)
    for index, (left, right) in enumerate(
        itertools.zip_longest(_wrapped(old.text if old else None), _wrapped(new.text), fillvalue="")
    ):
        yield _row("" if index else "text", left, right)
    if new.error:
        yield f"✗ {_line(new.error)}"


def _figures(side: TurnSide) -> dict[str, str]:
    cost = "–" if side.cost_usd is None else f"{side.cost_usd:.6f} USD"
    return {
        "outcome": f"{side.outcome} {side.reason or ''}",
        "agent": f"v{side.agent_version}" if side.agent_version else "–",
        "model": f"{side.provider or '–'} {side.model or ''}",
        "route": " → ".join(side.route) or "–",
        "tokens": f"{_known(side.prompt_tokens)} + {_known(side.completion_tokens)}",
        "cost": cost,
        "latency": "–" if side.latency_ms is None else f"{side.latency_ms} ms",
    }


def _wrapped(text: str | None) -> list[str]:
    from engine.observe import sanitise

    lines = sanitise(text).split("\n") if text else ["(no text)"]
    return [part for line in lines for part in textwrap.wrap(line, COLUMN) or [""]]


def _row(name: str, then: str, now: str) -> str:
    from rich.cells import set_cell_size

    left = set_cell_size(_line(then, COLUMN), COLUMN)
    return f"{name:<{NAME}}{left}  {_line(now)}".rstrip()


def _line(text: str, limit: int = 200) -> str:
    from engine.observe import one_line

    return one_line(text, limit)


def _known(number: int | None) -> str:
    return "?" if number is None else str(number)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
