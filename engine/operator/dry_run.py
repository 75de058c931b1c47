"""Dry runs: what the AI would say now, beside what it said then; one message, or a whole filter as a what-if."""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from engine.database.connection import Pool, Row, fetch, to_json
from engine.model import SwitchboardError
from engine.operator.audit import Operator, acting, audit, one, rows
from engine.operator.bulk import Progress
from engine.operator.rehearsal import Rehearsed, Runner
from engine.operator.replay import MessageFilter, matching
from engine.text import clean_json

AT_ONCE = 4
"""Dry runs of a filter under way at the same time; the engine's turns go first at the providers."""
COMPARED_CHARACTERS = 8_000
_WORDS = re.compile(r"\w+|\s+|[^\w\s]")


class TurnSide(BaseModel):
    """One turn, as one side of a comparison."""

    model_config = ConfigDict(frozen=True)

    turn_id: int
    kind: str
    outcome: str
    reason: str | None
    error: str | None
    text: str | None
    agent_version: int | None
    provider: str | None
    model: str | None
    route: list[str]
    """Every call in order: `provider/model`, and how it failed if it did."""
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    cost_usd: Decimal | None
    latency_ms: int | None
    """From the claim to the model's answer."""
    at: datetime


class WordChange(BaseModel):
    """A stretch of words that is equal in both texts, or differs."""

    model_config = ConfigDict(frozen=True)

    op: Literal["equal", "replace", "delete", "insert"]
    old: str
    new: str


class DryRun(BaseModel):
    """Then and now."""

    model_config = ConfigDict(frozen=True)

    message_id: int
    old: TurnSide | None
    """The latest turn that was not a dry run; None when there was none."""
    new: TurnSide
    words: list[WordChange]

    @property
    def same_text(self) -> bool:
        return self.old is not None and self.old.text == self.new.text


class WhatIf(BaseModel):
    """Dry runs of many messages."""

    runs: list[DryRun] = Field(default_factory=list)
    failed: dict[int, str] = Field(default_factory=dict)
    """By message: why there was no run."""

    @property
    def changed(self) -> int:
        """How many would be answered with another text."""
        return sum(not run.same_text for run in self.runs)

    @property
    def cost_usd(self) -> Decimal:
        """What the runs cost, as far as prices are known."""
        return sum((run.new.cost_usd for run in self.runs if run.new.cost_usd is not None), Decimal())


class Estimate(BaseModel):
    """What dry runs of a filter are likely to cost."""

    model_config = ConfigDict(frozen=True)

    messages: int
    usd: Decimal | None
    """From what these messages' turns cost before; None when no such cost is known."""
    known: int
    """Messages whose former cost is known; the others are taken to cost the average of these."""


async def dry_run(pool: Pool, operator: Operator, runner: Runner, message_id: int) -> DryRun:
    """Run a message's turn again without sending anything, and keep the record beside the earlier turns.

    Costs what a turn costs. Raises NotFound, Refused, ReadOnly.
    """
    operator.may_act()
    rehearsed = await runner.run(message_id)
    turn = {
        **rehearsed.record,
        **{
            key: value for key, value in asdict(rehearsed).items() if key not in {"record", "text", "outcome"}
        },
        "task": "conversation",
        "draft": rehearsed.text,
    }
    async with acting(pool, operator) as connection:
        recorded = (await fetch(connection, "record_dry_run", to_json(clean_json(turn))))[0]
        await audit(
            connection,
            operator,
            "dry_run",
            f"message:{rehearsed.message_id}",
            None,
            {"turn_id": recorded["id"], "replay_of": recorded["replay_of"], "cost_usd": turn.get("cost_usd")},
        )
    return await _compared(pool, rehearsed, recorded["id"], recorded["replay_of"])


async def what_if(
    pool: Pool,
    operator: Operator,
    runner: Runner,
    message_ids: Sequence[int],
    *,
    progress: Progress | None = None,
) -> WhatIf:
    """Dry-run many messages. One that cannot be run is told with its reason. Raises ReadOnly."""
    operator.may_act()
    told, done, room = WhatIf(), 0, asyncio.Semaphore(AT_ONCE)

    async def run(message_id: int) -> None:
        nonlocal done
        async with room:
            try:
                told.runs.append(await dry_run(pool, operator, runner, message_id))
            except SwitchboardError as error:
                told.failed[message_id] = str(error)
            done += 1
            if progress:
                progress(done, len(message_ids))

    async with asyncio.TaskGroup() as group:
        for message_id in message_ids:
            group.create_task(run(message_id))
    told.runs.sort(key=lambda run: run.message_id)
    return told


async def estimate(pool: Pool, which: MessageFilter) -> Estimate:
    """What dry runs of the matching messages are likely to cost, before they are made."""
    ids = await matching(pool, which)
    async with pool.connection() as connection:
        told = await rows(
            connection,
            """SELECT count(*) AS known, avg(cost_usd) AS average
                 FROM (SELECT DISTINCT ON (message_id) cost_usd FROM et_turns
                        WHERE message_id = ANY(%s) AND cost_usd IS NOT NULL
                        ORDER BY message_id, id DESC) t""",
            ids,
        )
    known, average = told[0]["known"], told[0]["average"]
    return Estimate(messages=len(ids), usd=None if average is None else average * len(ids), known=known)


def compare_words(old: str, new: str) -> list[WordChange]:
    """What changed from one text to the other, word by word; very long texts only in their beginning."""
    left, right = (_WORDS.findall(text[:COMPARED_CHARACTERS]) for text in (old, new))
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    return [
        WordChange(op=op, old="".join(left[a:b]), new="".join(right[c:d]))
        for op, a, b, c, d in matcher.get_opcodes()
    ]


async def _compared(pool: Pool, rehearsed: Rehearsed, new_id: int, old_id: int | None) -> DryRun:
    async with pool.connection() as connection:
        new = _side(await one(connection, f"Turn {new_id}", _SIDE, new_id))
        old = _side(await one(connection, f"Turn {old_id}", _SIDE, old_id)) if old_id is not None else None
    new = new.model_copy(update={"outcome": rehearsed.outcome})
    words = await asyncio.to_thread(compare_words, (old.text if old else None) or "", new.text or "")
    return DryRun(message_id=rehearsed.message_id, old=old, new=new, words=words)


_SIDE = """
SELECT t.id AS turn_id, t.kind, t.outcome, t.reason, t.error, t.agent_version, t.provider, t.model, t.attempts,
       t.prompt_tokens, t.completion_tokens, t.total_tokens, t.cost_usd, t.finished_at AS at,
       round(extract(epoch FROM t.answered_at - t.started_at) * 1000)::integer AS latency_ms,
       CASE WHEN r.author = 'ai' THEN r.text_content ELSE t.draft END AS text
  FROM et_turns t LEFT JOIN et_messages r ON r.id = t.reply_message_id
 WHERE t.id = %s"""


def _side(row: Row) -> TurnSide:
    return TurnSide(**{**row, "route": [_call(attempt) for attempt in row["attempts"]]})


def _call(attempt: dict[str, Any]) -> str:
    name = f"{attempt.get('provider')}/{attempt.get('model')}"
    if attempt.get("ok"):
        return name
    how = "skipped" if attempt.get("skipped") else attempt.get("failure") or "failed"
    return f"{name} ({how})"
