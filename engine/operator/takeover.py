"""Who answers a thread: a person takes it over, and gives it back by key or by timer.

A takeover is absolute: nothing of the AI starts to leave after it commits. The thread's row is locked first,
then its messages, then its sends, as the engine's own statements do; whoever commits first decides. The text
of a turn that was running becomes a draft.
"""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Connection, Pool, Row, fetch, transaction
from engine.operator.audit import BadInput, Busy, Operator, Refused, acting, audit, automatic, one, rows
from engine.runtime.policy import CONSENT

AUTO_RELEASE_MINUTES = 30.0
LONGEST_MINUTES = 60 * 24 * 365


class NotOwned(Refused):
    """The act needs a thread that a person owns."""


class Taken(Refused):
    """Another person answers the thread."""

    def __init__(self, thread_id: int, operator: str) -> None:
        super().__init__(
            f"{operator} answers thread {thread_id}.", "Agree to take it from them, or leave it."
        )
        self.operator = operator


class Takeover(BaseModel):
    """What a takeover did."""

    model_config = ConfigDict(frozen=True)

    thread_id: int
    epoch: int
    cancelled_sends: int
    """Messages of the AI that will not be sent."""
    sends_in_flight: int
    """Messages of the AI that were leaving already and cannot be held back."""
    parked_messages: int
    """Inbound messages that now wait for the person."""
    turn_running: bool
    """The AI was at an answer; its text is kept as a draft."""
    already_owner: bool
    """A person, perhaps another one, owned the thread before."""
    previous_operator: str | None
    auto_release_at: datetime | None


class Release(BaseModel):
    """What a hand-back did."""

    model_config = ConfigDict(frozen=True)

    thread_id: int
    epoch: int
    answered_by_ai: int
    """Waiting messages that the AI answers now."""
    left_parked: int
    """Messages of the human stretch that stay with people."""
    already_ai: bool = False


async def take_over(
    pool: Pool,
    operator: Operator,
    thread_id: int,
    *,
    auto_release_minutes: float | None = AUTO_RELEASE_MINUTES,
    reason: str | None = None,
    from_others: bool = True,
) -> Takeover:
    """Have a person answer the thread; after `auto_release_minutes` the AI does again (None: never).

    On a thread that a person owns already, this operator replaces the other one and the timer starts anew;
    without `from_others` another person's raises Taken. Raises NotFound, BadInput, ReadOnly.
    """
    check_minutes(auto_release_minutes)
    for last in (False, False, True):
        try:
            async with acting(pool, operator) as connection:
                thread = await lock_thread(connection, thread_id)
                if not from_others:
                    _check_nobody_else(thread, operator)
                return await take(
                    connection, operator, thread, auto_release_minutes, "takeover.operator", reason
                )
        except Busy:  # a deadlock ends one of the two; a takeover is not the one that gives up
            if last:
                raise
    raise AssertionError("unreachable")


async def release(pool: Pool, operator: Operator, thread_id: int, *, answer_waiting: bool = False) -> Release:
    """Have the AI answer the thread again, from the customer's next message on.

    With `answer_waiting` it also answers what came since the takeover and after the person's last reply.
    Does nothing when the AI answers already. Raises NotFound, ReadOnly.
    """
    async with acting(pool, operator) as connection:
        thread = await lock_thread(connection, thread_id)
        if thread["owner"] == "ai":
            return Release(
                thread_id=thread_id, epoch=thread["epoch"], answered_by_ai=0, left_parked=0, already_ai=True
            )
        return await _release(connection, operator, thread, answer_waiting=answer_waiting)


async def release_due(pool: Pool, *, answer_waiting: bool = True) -> list[int]:
    """Give back every thread whose timer has run out; returns their ids. Each is a commit of its own.

    Customers whom nobody answered in that time are answered by the AI, unless `answer_waiting` is off.
    """
    released: list[int] = []
    operator = automatic("timer")
    while True:
        async with transaction(pool) as connection:
            due = await rows(
                connection,
                """SELECT id FROM et_threads WHERE owner = 'human' AND auto_release_at <= now()
                    ORDER BY auto_release_at LIMIT 1 FOR UPDATE SKIP LOCKED""",
            )
            if not due:
                return released
            thread = await lock_thread(connection, due[0]["id"])
            await _release(connection, operator, thread, answer_waiting=answer_waiting)
        released.append(thread["id"])


async def extend(
    pool: Pool, operator: Operator, thread_id: int, minutes: float | None = AUTO_RELEASE_MINUTES
) -> datetime | None:
    """Move the hand-back to `minutes` from now, or call it off with None; returns its new time.

    Raises NotOwned when the AI answers the thread, NotFound, BadInput, ReadOnly.
    """
    check_minutes(minutes)
    async with acting(pool, operator) as connection:
        thread = await lock_thread(connection, thread_id)
        owned_by_human(thread)
        moved = await rows(
            connection,
            """UPDATE et_threads SET auto_release_at = now() + make_interval(secs => %s::float * 60)
                WHERE id = %s RETURNING auto_release_at""",
            minutes,
            thread_id,
        )
        at: datetime | None = moved[0]["auto_release_at"]
        await audit(
            connection,
            operator,
            "takeover.extend",
            f"thread:{thread_id}",
            {"auto_release_at": thread["auto_release_at"]},
            {"auto_release_at": at},
        )
        return at


async def lock_thread(connection: Connection, thread_id: int) -> Row:
    """The thread's row, locked before anything of it is looked at. Raises NotFound."""
    return await one(
        connection,
        f"Thread {thread_id}",
        """SELECT id, tenant_id, channel, account, owner, operator, epoch, auto_release_at, labels, snoozed_until,
                  last_inbound_at, holder
             FROM et_threads WHERE id = %s FOR UPDATE""",
        thread_id,
    )


def owned_by_human(thread: Row) -> None:
    """Raises NotOwned when the AI answers the thread."""
    if thread["owner"] != "human":
        raise NotOwned(f"The AI answers thread {thread['id']}.", "Take it over first.")


async def note_human_word(
    connection: Connection, thread_id: int, operator: Operator, minutes: float | None
) -> None:
    """A person spoke in a locked thread: a running hand-back timer starts anew, and never ends sooner."""
    await rows(
        connection,
        """UPDATE et_threads
              SET last_message_at = now(),
                  operator = CASE owner WHEN 'human' THEN coalesce(operator, %s) ELSE operator END,
                  auto_release_at = CASE WHEN auto_release_at IS NOT NULL
                      THEN greatest(auto_release_at, now() + make_interval(secs => %s::float * 60)) END
            WHERE id = %s""",
        operator.name,
        minutes,
        thread_id,
    )


def _check_nobody_else(thread: Row, operator: Operator) -> None:
    if thread["owner"] == "human" and thread["operator"] not in (None, operator.name):
        raise Taken(thread["id"], thread["operator"])


def check_minutes(minutes: float | None) -> None:
    """Raises BadInput when a timer cannot run that long."""
    if minutes is not None and not 0 < minutes <= LONGEST_MINUTES:
        raise BadInput(
            f"A hand-back in {minutes:g} minutes is not possible.",
            "Give more than 0 minutes, or none for never.",
        )


async def hear_consent(connection: Connection, parked: list[int]) -> None:
    """STOP and START count in messages that a person gets, too: the AI keeps to it later."""
    if parked:
        await fetch(connection, "hear_consent", parked, *CONSENT)


async def take(
    connection: Connection,
    operator: Operator,
    thread: Row,
    minutes: float | None,
    parked_reason: str,
    note: str | None,
) -> Takeover:
    """Hand a locked thread to `operator`, audited. `parked_reason` goes to the messages that now wait."""
    done = (await fetch(connection, "take_over", thread["id"], operator.name, minutes, parked_reason))[0]
    await hear_consent(connection, done["parked"])
    await audit(
        connection,
        operator,
        "takeover",
        f"thread:{thread['id']}",
        {key: thread[key] for key in ("owner", "operator", "epoch", "auto_release_at")},
        {
            "owner": "human",
            "operator": operator.name,
            "epoch": done["epoch"],
            "auto_release_at": done["auto_release_at"],
            "parked_messages": done["parked"],
            "cancelled_sends": done["cancelled"],
            "sends_in_flight": done["leaving"],
        },
        note,
    )
    return Takeover(
        thread_id=thread["id"],
        epoch=done["epoch"],
        cancelled_sends=len(done["cancelled"]),
        sends_in_flight=len(done["leaving"]),
        parked_messages=len(done["parked"]),
        turn_running=thread["holder"] is not None,
        already_owner=thread["owner"] == "human",
        previous_operator=thread["operator"],
        auto_release_at=done["auto_release_at"],
    )


async def _release(
    connection: Connection, operator: Operator, thread: Row, *, answer_waiting: bool
) -> Release:
    done = (await fetch(connection, "release_thread", thread["id"], answer_waiting))[0]
    await hear_consent(connection, done["parked"])
    await audit(
        connection,
        operator,
        "release",
        f"thread:{thread['id']}",
        {key: thread[key] for key in ("owner", "operator", "epoch", "auto_release_at")},
        {"owner": "ai", "epoch": done["epoch"], "answered_by_ai": done["again"]},
    )
    return Release(
        thread_id=thread["id"],
        epoch=done["epoch"],
        answered_by_ai=len(done["again"]),
        left_parked=len(done["parked"]),
    )
