"""The inbound side of the database: claim, extend, complete, renew, release, rescue. Each one statement.

A claim is held by (thread, token). Every write after it carries the token, so a worker that lost its claim
writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from engine.database.connection import Connection, Pool, Row, fetch, to_json
from engine.model import TurnKind, TurnOutcome
from engine.runtime.agent_runtime import NewMessage, TurnResult, record
from engine.runtime.context_builder import Said
from engine.runtime.policy import CONSENT
from engine.sends import Outbox, Send, Words
from engine.text import clean_for_storage

BURST_LIMIT = 20
"""Messages that one turn answers at most."""
HISTORY_ROWS = 40


@dataclass(frozen=True)
class Claim:
    """A thread's open messages, held for one turn, and what the turn needs to know of the thread."""

    thread_id: int
    tenant_id: int
    lead_id: int | None
    channel: str
    account: str
    address: str | None
    epoch: int
    token: int
    human_until: datetime | None
    attempts: int
    messages: tuple[NewMessage, ...]
    history: tuple[Said, ...]
    sender: str | None
    sender_name: str | None
    lead_tenant_id: int | None
    lead_name: str | None
    opted_out: bool
    asked_for: bool
    """An operator replayed it or handed it back: it is answered however old it is."""
    last_inbound_at: datetime | None
    """When the customer last wrote, in whichever message."""
    claimed_at: datetime
    mode: str | None = None
    """Whether the thread's replies are sent (`auto`) or drafted (`suggest`); None: as its agent has it."""

    @property
    def head_id(self) -> int:
        """The message that carries the turn: the oldest of the burst."""
        return self.messages[0].id

    def extended(self, messages: Sequence[NewMessage]) -> Claim:
        """The same claim with messages that came meanwhile."""
        return replace(self, messages=(*self.messages, *messages))


@dataclass(frozen=True)
class Completion:
    """A turn that has ended, ready to be written."""

    claim: Claim
    result: TurnResult
    kind: TurnKind
    agent_id: int | None
    agent_version: int | None
    simulated: bool
    restartable: bool
    """Newer messages of the thread may still join the turn, which then starts over."""
    wasted: TurnResult | None
    """The turn that was started over: its calls were made and cost money."""
    retry_seconds: float

    @property
    def text(self) -> str | None:
        """The reply, as it is stored and sent."""
        return clean_for_storage(self.result.text) if self.result.text else None

    def as_json(self) -> dict[str, Any]:
        """The record `complete_turns.sql` reads."""
        claim, result = self.claim, self.result
        row = {
            "thread_id": claim.thread_id,
            "tenant_id": claim.tenant_id,
            "lead_id": claim.lead_id,
            "head_id": claim.head_id,
            "message_ids": [message.id for message in claim.messages],
            "token": claim.token,
            "epoch": claim.epoch,
            "channel": claim.channel,
            "account": claim.account,
            "outcome": result.outcome,
            "reason": result.reason,
            "error": clean_for_storage(result.error) if result.error else None,
            "hand_over": result.hand_over,
            "opt_out": result.opt_out,
            "restartable": self.restartable,
            "retry_seconds": self.retry_seconds,
            "text": self.text,
            "raw_payload": {"ai_trace": result.trace} if result.trace else None,
            "kind": self.kind,
            "agent_id": self.agent_id,
            "agent_version": self.agent_version,
            "task": "conversation",
            "simulated": self.simulated,
            "spent_usd": _spent(result, self.wasted),
            **record(result),
        }
        if self.wasted and self.wasted.llm:
            row["attempts"] = record(self.wasted)["attempts"] + row["attempts"]
        return {key: value for key, value in row.items() if value is not None}  # fewer keys to parse


@dataclass(frozen=True)
class Completed:
    """What became of a completion: its outcome, or `lost_claim`, `drafted` or `superseded`."""

    result: TurnOutcome
    reply_id: int | None
    queue_id: int | None
    send: Send | None = None
    """The reply, when the dispatcher of this engine takes it at once."""


async def claim_turns(
    connection: Connection,
    *,
    engine: str,
    threads: int,
    lease_seconds: float,
    burst: int,
    paused: Sequence[str] = (),
) -> list[Claim]:
    """T1: claim up to `threads` due threads for this engine; of the AI's, none that are paused or on a channel
    in `paused`."""
    values = (engine, threads, lease_seconds, burst, HISTORY_ROWS, list(paused), *CONSENT)
    rows = await fetch(connection, "claim_turns", *values, binary=True)
    return [claim_of(row) for row in rows]


def claim_of(row: Row) -> Claim:
    """A row of `claim_turns.sql` (or `load_turn.sql`) as a Claim."""
    return Claim(
        thread_id=row["thread_id"],
        tenant_id=row["tenant_id"],
        lead_id=row["lead_id"],
        channel=row["channel"],
        account=row["account"],
        address=row["address"],
        epoch=row["epoch"],
        token=row["token"],
        human_until=row["human_until"],
        attempts=row["attempts"],
        messages=tuple(
            NewMessage(id_, text, kind, datetime.fromisoformat(created_at), provider_message_id)
            for id_, text, kind, created_at, provider_message_id in row["messages"]
        ),
        history=tuple(map(Said, row["said_ids"], row["said_by"], row["said"], row["said_at"]))
        if row["said_ids"]
        else (),
        sender=row["sender"],
        sender_name=row["sender_name"],
        lead_tenant_id=row["lead_tenant_id"],
        lead_name=row["lead_name"],
        opted_out=row["opted_out_at"] is not None,
        asked_for=row["asked_for"],
        last_inbound_at=row["last_inbound_at"],
        claimed_at=row["claimed_at"],
        mode=row["mode"],
    )


async def extend_turn(connection: Connection, *, engine: str, claim: Claim) -> list[NewMessage]:
    """Take the messages that came since the claim into the running turn; none when the claim was lost."""
    async with connection.transaction():
        await connection.execute("SELECT FROM et_threads WHERE id = %s FOR UPDATE", [claim.thread_id])
        rows = await fetch(
            connection, "extend_turn", engine, claim.thread_id, claim.token, claim.head_id, BURST_LIMIT
        )
    return [NewMessage(**row) for row in rows]


async def complete_turns(
    connection: Connection, engine: str, completions: Sequence[Completion], outbox: Outbox | None = None
) -> list[Completed | None]:
    """T2: write ended turns in one commit; None for one whose thread is locked just now.

    As many replies as `outbox` has room for are queued as claimed by this engine, and returned as sends; those that
    nothing holds back are marked as started already.
    """
    turns = [completion.as_json() for completion in completions]
    direct: tuple[int, float, list[str]] = (0, 0.0, [])
    if outbox:
        direct = (outbox.room(), outbox.lease_seconds, list(outbox.paused))
        _tell_what_leaves(turns, completions, outbox, direct[0])
    rows = await fetch(connection, "complete_turns", to_json(turns), engine, *direct)
    # By token too: after a long wait, two claims of one message may stand in the same batch.
    ended = {(row["head_id"], row["token"]): row for row in rows}
    return [_completed(c, ended.get((c.claim.head_id, c.claim.token))) for c in completions]


def _tell_what_leaves(
    turns: list[dict[str, Any]], completions: Sequence[Completion], outbox: Outbox, room: int
) -> None:
    replied = (n for n, c in enumerate(completions) if c.result.outcome is TurnOutcome.REPLIED)
    for number in islice(replied, room):
        if outbox.leaves_at_once(_words(completions[number], turns[number].get("text"))):
            turns[number]["leaves"] = True


def _words(completion: Completion, text: str | None) -> Words:
    claim = completion.claim
    return Words(
        author="ai",
        tenant_id=claim.tenant_id,
        channel=claim.channel,
        account=claim.account,
        text=text,
        address=claim.address,
        last_inbound_at=claim.last_inbound_at,
        claimed_at=claim.claimed_at,
    )


def _completed(completion: Completion, row: Row | None) -> Completed | None:
    if row is None:
        return None
    send = _send(completion, row) if row["direct"] else None
    return Completed(TurnOutcome(row["result"]), row["reply_id"], row["queue_id"], send)


def _send(completion: Completion, row: Row) -> Send:
    claim = completion.claim
    return Send(
        queue_id=row["queue_id"],
        message_id=row["reply_id"],
        token=1,
        attempts=1,
        author="ai",
        tenant_id=claim.tenant_id,
        thread_id=claim.thread_id,
        lead_id=row["lead_id"],
        channel=claim.channel,
        account=claim.account,
        text=completion.text,
        address=row["address"],
        reply_to=claim.messages[0].provider_message_id,
        last_inbound_at=row["last_inbound_at"],
        claimed_at=row["claimed_at"],
        started=row["started"],
    )


async def renew_turns(
    connection: Connection, *, engine: str, claims: Sequence[Claim], lease_seconds: float
) -> set[int]:
    """Heartbeat: renew the leases and return the threads that are still ours."""
    threads, tokens = [c.thread_id for c in claims], [c.token for c in claims]
    return {
        row["id"] for row in await fetch(connection, "renew_turns", engine, threads, tokens, lease_seconds)
    }


async def release_turns(connection: Connection, *, engine: str, claims: Sequence[Claim]) -> int:
    """Clean stop: give claims back; returns how many were still ours."""
    threads, tokens = [c.thread_id for c in claims], [c.token for c in claims]
    return len(await fetch(connection, "release_turns", engine, threads, tokens))


async def rescue_turns(connection: Connection, *, max_attempts: int) -> list[Row]:
    """Free what engines that stopped answering have held; rows of `id` and new `delivery_status`."""
    return await fetch(connection, "rescue_turns", max_attempts)


async def sweep_mailboxes(connection: Connection) -> int:
    """Heal what no claim can see; returns how many threads were made due."""
    await fetch(connection, "adopt_messages")
    return len(await fetch(connection, "sweep_mailboxes"))


async def defer_oldest(connection: Connection, seconds: float, paused: Sequence[str] = ()) -> int | None:
    """Put the oldest due thread off; returns its id. Its messages stay as they are."""
    rows = await fetch(connection, "defer_oldest", seconds, list(paused))
    return rows[0]["id"] if rows else None


async def seconds_to_next_due(connection: Connection, paused: Sequence[str] = ()) -> float | None:
    """Seconds until the next thread that is not paused is due, 0 when one is; None when none waits."""
    rows = await fetch(connection, "next_due", list(paused))
    return rows[0]["seconds"] if rows else None


async def reserve_budget(pool: Pool, claim: Claim, amount: Decimal, cap: Decimal) -> tuple[bool, Decimal]:
    """Set `amount` USD aside for a turn; whether the cap allows it, and what was spent today."""
    async with pool.connection() as connection, connection.transaction():
        # The tenant's row is the lock, so that two engines cannot both take the last cent.
        await connection.execute("SELECT FROM et_tenants WHERE id = %s FOR NO KEY UPDATE", [claim.tenant_id])
        rows = await fetch(
            connection, "reserve_budget", claim.tenant_id, claim.thread_id, amount, cap, claim.token
        )
    return rows[0]["ok"], rows[0]["spent"]


def _spent(result: TurnResult, wasted: TurnResult | None) -> Decimal | None:
    costs = [turn.cost_usd for turn in (wasted, result) if turn is not None and turn.llm is not None]
    known = [cost for cost in costs if cost is not None]
    return sum(known, Decimal()) if known else None
