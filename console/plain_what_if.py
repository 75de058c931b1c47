"""What `switchboard what-if` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.operator.what_if import WhatIf
    from engine.operator.what_if_estimate import Estimate
    from engine.operator.what_if_results import Compared, Report, Summary

MOST_SHOWN = 20
"""Messages told one by one; all of them are in --format json and csv."""
WORDS = {
    "changed": "answered in other words",
    "refused": "left to a person",
    "failed": "without an answer",
    "new": "answered, with nothing to compare",
    "same": "answered the same",
}


def estimate_line(expected: Estimate) -> str:
    """What a what-if is likely to cost."""
    if expected.usd is None:
        cost = "the cost cannot be estimated: no earlier cost is known"
    else:
        cost = f"about {expected.usd:.4f} USD, from what {expected.known} of them used before"
    return f"{expected.messages} messages, {cost}"


def what_if_line(what_if: WhatIf) -> str:
    """One what-if in a line."""
    note = f": {_line(what_if.note)}" if what_if.note else ""
    return (
        f"#{what_if.id}  {what_if.created_at:%Y-%m-%d %H:%M}  {_line(what_if.agent)} {what_if.tried}  "
        f"{what_if.done} of {what_if.total}  {what_if.cost_usd:.4f} USD  {what_if.state}{note}  "
        f"{_line(what_if.filter)}"
    ).rstrip()


def summary_lines(summary: Summary) -> Iterator[str]:
    """Counts, cost and time."""
    for verdict, number in summary.verdicts.items():
        if number:
            yield f"{number:>7}  {WORDS[verdict]}"
    if summary.compared_costs:
        change = summary.new_cost_usd - summary.old_cost_usd
        percent = f" ({change / summary.old_cost_usd:+.0%})" if summary.old_cost_usd else ""
        yield (
            f"   cost  {summary.old_cost_usd:.6f} → {summary.new_cost_usd:.6f} USD{percent}, "
            f"over {summary.compared_costs} messages"
        )
    if summary.old_latency_ms is not None and summary.new_latency_ms is not None:
        difference = summary.new_latency_ms - summary.old_latency_ms
        yield f"   time  {summary.old_latency_ms} → {summary.new_latency_ms} ms ({difference:+d} ms), the median"
    yield f"  spent  {summary.cost_usd:.6f} USD"


def report_lines(told: Report) -> Iterator[str]:
    """The summary, then the messages whose answer is another one."""
    yield what_if_line(told.what_if)
    yield from summary_lines(told.summary)
    different = [result for result in told.results if result.verdict != "same"]
    for result in different[:MOST_SHOWN]:
        yield from _compared(result)
    if len(different) > MOST_SHOWN:
        yield f"… and {len(different) - MOST_SHOWN} more; all of them with --format csv"


def _compared(result: Compared) -> Iterator[str]:
    yield ""
    yield f"message {result.message_id}: {result.verdict}"
    yield f"  asked  {_line(result.customer)}"
    yield f"  then   {_line((result.old and result.old.text) or '–')}"
    if result.verdict in ("refused", "failed"):
        why = result.problem or (result.new and (result.new.error or result.new.reason)) or "–"
        yield f"  why    {_line(why)}"
    else:
        yield f"  now    {_line((result.new and result.new.text) or '–')}"


def _line(text: str | None) -> str:
    from engine.observe import one_line

    return one_line(text or "", 300)
