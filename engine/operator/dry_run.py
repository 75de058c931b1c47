"""Dry runs: what the AI would say now, beside what it said then."""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Connection, Pool, Row, fetch, to_json
from engine.operator.audit import Operator, acting, audit, rows
from engine.operator.rehearsal import Rehearsed, Runner
from engine.text import clean_json

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


async def dry_run(pool: Pool, operator: Operator, runner: Runner, message_id: int) -> DryRun:
    """Run a message's turn again without sending anything, and keep the record beside the earlier turns.

    Costs what a turn costs. Raises NotFound, Refused, ReadOnly.
    """
    operator.may_act()
    rehearsed = await runner.run(message_id)
    async with acting(pool, operator) as connection:
        recorded = await record_run(connection, rehearsed)
        await audit(
            connection,
            operator,
            "dry_run",
            f"message:{rehearsed.message_id}",
            None,
            {
                "turn_id": recorded["id"],
                "replay_of": recorded["replay_of"],
                "cost_usd": rehearsed.record.get("cost_usd"),
            },
        )
    return await _compared(pool, rehearsed, recorded["id"], recorded["replay_of"])


async def record_run(
    connection: Connection, rehearsed: Rehearsed, task: str = "conversation", **more: str
) -> Row:
    """Keep the record of a run, and what it used under `task`: `id` of the turn, `replay_of` it is held against.

    `more` is `kind` and `outcome` of the turn where it is not a dry run.
    """
    turn = {
        **rehearsed.record,
        **{
            key: value for key, value in asdict(rehearsed).items() if key not in {"record", "text", "outcome"}
        },
        "task": task,
        "draft": rehearsed.text,
        **more,
    }
    return (await fetch(connection, "record_dry_run", to_json(clean_json(turn))))[0]


def compare_words(old: str, new: str) -> list[WordChange]:
    """What changed from one text to the other, word by word; very long texts only in their beginning."""
    left, right = (_WORDS.findall(text[:COMPARED_CHARACTERS]) for text in (old, new))
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    return [
        WordChange(op=op, old="".join(left[a:b]), new="".join(right[c:d]))
        for op, a, b, c, d in matcher.get_opcodes()
    ]


async def read_sides(connection: Connection, turn_ids: Sequence[int]) -> dict[int, TurnSide]:
    """Turns as sides of a comparison, by id."""
    found = await rows(connection, _SIDES, list(turn_ids))
    return {row["turn_id"]: _side(row) for row in found}


async def _compared(pool: Pool, rehearsed: Rehearsed, new_id: int, old_id: int | None) -> DryRun:
    async with pool.connection() as connection:
        sides = await read_sides(connection, [turn for turn in (new_id, old_id) if turn is not None])
    old = sides.get(old_id) if old_id is not None else None
    new = sides[new_id].model_copy(update={"outcome": rehearsed.outcome})
    words = await asyncio.to_thread(compare_words, (old.text if old else None) or "", new.text or "")
    return DryRun(message_id=rehearsed.message_id, old=old, new=new, words=words)


_SIDES = """
SELECT t.id AS turn_id, t.kind, t.outcome, t.reason, t.error, t.agent_version, t.provider, t.model, t.attempts,
       t.prompt_tokens, t.completion_tokens, t.total_tokens, t.cost_usd, t.finished_at AS at,
       round(extract(epoch FROM t.answered_at - t.started_at) * 1000)::integer AS latency_ms,
       CASE WHEN r.author = 'ai' THEN r.text_content ELSE t.draft END AS text
  FROM et_turns t LEFT JOIN et_messages r ON r.id = t.reply_message_id
 WHERE t.id = ANY(%s)"""


def _side(row: Row) -> TurnSide:
    return TurnSide(**{**row, "route": [_call(attempt) for attempt in row["attempts"]]})


def _call(attempt: dict[str, Any]) -> str:
    name = f"{attempt.get('provider')}/{attempt.get('model')}"
    if attempt.get("ok"):
        return name
    how = "skipped" if attempt.get("skipped") else attempt.get("failure") or "failed"
    return f"{name} ({how})"
