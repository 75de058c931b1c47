"""What a what-if has shown: old and new side by side, and what changed in all."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from io import StringIO
from statistics import median
from typing import Literal

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Pool
from engine.operator.audit import rows
from engine.operator.dry_run import TurnSide, WordChange, compare_words, read_sides
from engine.operator.what_if import FAILED, WhatIf, read
from engine.text import csv_cell

SUGGESTED = "suggested"
Verdict = Literal["changed", "same", "refused", "new", "failed"]
VERDICTS: tuple[Verdict, ...] = ("changed", "refused", "failed", "new", "same")
COLUMNS = (
    "message_id", "verdict", "customer", "old", "new", "old_outcome", "new_outcome", "new_reason", "old_version",
    "old_model", "new_model", "old_cost_usd", "new_cost_usd", "old_latency_ms", "new_latency_ms", "old_tokens",
    "new_tokens", "problem",
)  # fmt: skip


class Compared(BaseModel):
    """One message: then and now."""

    model_config = ConfigDict(frozen=True)

    message_id: int
    customer: str
    """What was asked."""
    verdict: Verdict
    old: TurnSide | None
    new: TurnSide | None
    problem: str | None
    """Why there was no run."""

    def words(self) -> list[WordChange]:
        """The two texts, word by word."""
        return compare_words((self.old and self.old.text) or "", (self.new and self.new.text) or "")


class Summary(BaseModel):
    """A what-if in figures; costs and latencies of those messages whose both are known."""

    model_config = ConfigDict(frozen=True)

    messages: int
    verdicts: dict[Verdict, int]
    compared_costs: int
    old_cost_usd: Decimal
    new_cost_usd: Decimal
    old_latency_ms: int | None
    """Median, from the claim to the answer."""
    new_latency_ms: int | None
    cost_usd: Decimal
    """What the runs cost in all."""


class Report(BaseModel):
    """A what-if with all it has shown so far."""

    model_config = ConfigDict(frozen=True)

    what_if: WhatIf
    summary: Summary
    results: list[Compared]


async def report(pool: Pool, what_if_id: int) -> Report:
    """What a what-if has shown so far, the changed ones first. Raises NotFound."""
    what_if = await read(pool, what_if_id)
    async with pool.connection() as connection:
        items = await rows(
            connection,
            """SELECT i.message_id, i.turn_id, i.old_turn_id, i.outcome, i.problem,
                      left(m.text_content, 4000) AS customer
                 FROM et_what_if_items i LEFT JOIN et_messages m ON m.id = i.message_id
                WHERE i.what_if_id = %s AND (i.outcome IS NOT NULL OR i.problem IS NOT NULL)
                ORDER BY i.message_id""",
            what_if_id,
        )
        turns = [item[key] for item in items for key in ("turn_id", "old_turn_id") if item[key] is not None]
        sides = await read_sides(connection, turns)
    results = []
    for item in items:
        old, new = sides.get(item["old_turn_id"]), sides.get(item["turn_id"])
        problem = item["problem"]
        if new is not None:
            new = new.model_copy(update={"outcome": item["outcome"]})
        elif problem is None:
            problem = "The record of this run has been pruned."
        results.append(
            Compared(
                message_id=item["message_id"],
                customer=item["customer"] or "",
                verdict=judge(old, new),
                old=old,
                new=new,
                problem=problem,
            )
        )
    results.sort(key=lambda result: VERDICTS.index(result.verdict))
    return Report(what_if=what_if, summary=summarise(results), results=results)


def judge(old: TurnSide | None, new: TurnSide | None) -> Verdict:
    """What the new turn would have meant for the customer."""
    if new is None or new.outcome in FAILED:
        return "failed"
    if new.outcome != "replied" and new.reason != SUGGESTED:
        return "refused"
    if old is None or not old.text:
        return "new"
    return "same" if old.text == new.text else "changed"


def summarise(results: Sequence[Compared]) -> Summary:
    """The figures of these results."""
    pairs = [(r.old, r.new) for r in results if r.old is not None and r.new is not None]
    costs = [(o.cost_usd, n.cost_usd) for o, n in pairs if o.cost_usd is not None and n.cost_usd is not None]
    spans = [
        (o.latency_ms, n.latency_ms)
        for o, n in pairs
        if o.latency_ms is not None and n.latency_ms is not None
    ]
    counted = Counter(result.verdict for result in results)
    return Summary(
        messages=len(results),
        verdicts={verdict: counted[verdict] for verdict in VERDICTS},
        compared_costs=len(costs),
        old_cost_usd=sum((old for old, _ in costs), Decimal()),
        new_cost_usd=sum((new for _, new in costs), Decimal()),
        old_latency_ms=round(median(old for old, _ in spans)) if spans else None,
        new_latency_ms=round(median(new for _, new in spans)) if spans else None,
        cost_usd=sum((r.new.cost_usd for r in results if r.new and r.new.cost_usd is not None), Decimal()),
    )


def as_csv(results: Sequence[Compared]) -> str:
    """The results as a table, its cells safe for spreadsheets."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for r in results:
        old, new = r.old, r.new
        cells = (
            r.message_id, r.verdict, r.customer, old and old.text, new and new.text, old and old.outcome,
            new and new.outcome, new and new.reason, old and old.agent_version, old and old.model,
            new and new.model, old and old.cost_usd, new and new.cost_usd, old and old.latency_ms,
            new and new.latency_ms, old and old.total_tokens, new and new.total_tokens, r.problem,
        )  # fmt: skip
        writer.writerow(["" if cell is None else csv_cell(str(cell)) for cell in cells])
    return out.getvalue()
