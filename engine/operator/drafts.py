"""Drafts of the AI: threads that are only drafted for, drafts on demand, and drafts nobody wants.

A draft is the text of a turn that was not sent. A person sends it, changed or not, with `reply.accept_draft`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Pool
from engine.model import TurnKind, TurnOutcome
from engine.operator.audit import BadInput, Operator, Refused, acting, audit, one, rows
from engine.operator.dry_run import record_run
from engine.operator.rehearsal import rehearsal
from engine.operator.takeover import lock_thread
from engine.settings import Settings

TASK = "draft"
ThreadMode = Literal["auto", "suggest"]


class Drafted(BaseModel):
    """A draft that was asked for."""

    model_config = ConfigDict(frozen=True)

    turn_id: int
    message_id: int
    """The customer's message that it answers."""
    text: str


class Discarded(BaseModel):
    """A draft that was put away."""

    model_config = ConfigDict(frozen=True)

    turn_id: int
    thread_id: int


class ModeOfThread(BaseModel):
    """How the AI answers in a thread."""

    model_config = ConfigDict(frozen=True)

    thread_id: int
    mode: ThreadMode | None
    """None: as its agent has it."""


async def set_thread_mode(
    pool: Pool, operator: Operator, thread_id: int, mode: ThreadMode | None
) -> ModeOfThread:
    """Have the AI send (`auto`) or only draft (`suggest`) here; None: as its agent has it.

    A turn that is running ends as it began. Raises BadInput, NotFound, ReadOnly.
    """
    if mode not in ("auto", "suggest", None):
        raise BadInput(f"There is no mode {mode!r}.", "Choose auto (replies) or suggest (drafts).")
    async with acting(pool, operator) as connection:
        await lock_thread(connection, thread_id)
        before = await one(
            connection, f"Thread {thread_id}", "SELECT mode FROM et_threads WHERE id = %s", thread_id
        )
        if before["mode"] != mode:
            await rows(connection, "UPDATE et_threads SET mode = %s WHERE id = %s", mode, thread_id)
            await audit(connection, operator, "thread.mode", f"thread:{thread_id}", before, {"mode": mode})
    return ModeOfThread(thread_id=thread_id, mode=mode)


async def draft_now(
    pool: Pool, operator: Operator, settings: Settings, thread_id: int, *, simulated: bool = False
) -> Drafted:
    """Have the AI draft an answer to what the customer wrote last, for a person who answers this thread.

    Nothing is sent; what it costs counts in the budgets. Raises Refused when nobody waits, when a rule forbids
    an answer or no provider gives one, OutOfMoney, NotFound, ReadOnly.
    """
    operator.may_act()
    async with pool.connection() as connection:
        newest = await rows(
            connection,
            """SELECT id, direction FROM et_messages
                WHERE thread_id = %s AND NOT (direction = 'outbound' AND delivery_status = 'failed')
                ORDER BY id DESC LIMIT 1""",
            thread_id,
        )
    if not newest or newest[0]["direction"] != "inbound":
        raise Refused(f"Nobody waits for an answer in thread {thread_id}.", "Write to the customer yourself.")
    async with rehearsal(pool, settings, simulated=simulated, for_person=True) as runner:
        rehearsed = await runner.run(newest[0]["id"])
    async with acting(pool, operator) as connection:
        turn = await record_run(
            connection, rehearsed, TASK, kind=TurnKind.DRAFT.value, outcome=TurnOutcome.DRAFTED.value
        )
        after = {"turn_id": turn["id"], "cost_usd": rehearsed.record.get("cost_usd")}
        await audit(connection, operator, "draft.ask", f"thread:{thread_id}", None, after)
    if not rehearsed.text:
        why = rehearsed.error or rehearsed.reason or "the model said nothing"
        raise Refused(f"There is no draft: {why}.", "Write the answer yourself.")
    return Drafted(turn_id=turn["id"], message_id=rehearsed.message_id, text=rehearsed.text)


async def thread_of(pool: Pool, turn_id: int) -> int:
    """The thread of a turn. Raises NotFound."""
    async with pool.connection() as connection:
        found = await one(
            connection, f"Turn {turn_id}", "SELECT thread_id FROM et_turns WHERE id = %s", turn_id
        )
    return int(found["thread_id"])


async def discard_draft(pool: Pool, operator: Operator, turn_id: int) -> Discarded:
    """Put a draft away; its record stays. Raises Refused when it was sent or is gone, NotFound, ReadOnly."""
    async with acting(pool, operator) as connection:
        what = f"Turn {turn_id}"
        found = await one(connection, what, "SELECT thread_id FROM et_turns WHERE id = %s", turn_id)
        await lock_thread(connection, found["thread_id"])
        done = await rows(
            connection,
            """UPDATE et_turns SET draft_discarded_at = now()
                WHERE id = %s AND draft <> '' AND reply_message_id IS NULL AND draft_discarded_at IS NULL
            RETURNING id""",
            turn_id,
        )
        if not done:
            raise Refused(f"{what} has no draft that waits.", "It was sent or discarded already.")
        after = {"turn_id": turn_id}
        await audit(connection, operator, "draft.discard", f"thread:{found['thread_id']}", None, after)
    return Discarded(turn_id=turn_id, thread_id=found["thread_id"])
