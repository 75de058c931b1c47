"""The engine's database steps one by one, and a model of the customers at the other end.

Everything an engine does with the database is here a call: nothing runs by itself, and time passes only when
told. Engines are names; what one of them holds is kept here even after its claim was lost, so that it can act
as a zombie.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from engine.channels.base import Inbound, Receipt, ReceiptStatus
from engine.database.connection import connect, open_pool, transaction
from engine.demo.channel_far_end import Arrival, Conduct
from engine.inbound import claims
from engine.inbound.claims import Claim, Completed, Completion
from engine.inbound.intake import store_inbound
from engine.model import OutboundStatus, Outcome, TurnKind, TurnOutcome
from engine.operator import outbound, replay, takeover
from engine.operator.audit import Operator, Refused
from engine.outbound import queue, receipts
from engine.outbound.queue import SendResult
from engine.runtime.agent_runtime import TurnResult
from engine.sends import Send

T = TypeVar("T")
LEASE_SECONDS = 60.0
MAX_ATTEMPTS = 3
ANNA = Operator("anna", "desk")


@dataclass
class Leaving:
    """A send that an engine has claimed."""

    engine: str
    send: Send
    arrival: Arrival | None = None
    """Set once the customer has it."""
    started: bool = False


@dataclass
class Lab:
    """One database, driven step by step."""

    dsn: str
    turns: list[tuple[str, Claim]] = field(default_factory=list)
    """Every claim ever held, lost ones included, the newest last."""
    sends: list[Leaving] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    brought: set[str] = field(default_factory=set)
    """Provider ids of stored messages."""
    ai_left_owned_thread: list[int] = field(default_factory=list)
    """Messages of the AI that started in a thread a person owned."""

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.connection = self.run(connect(self.dsn))
        self.pool = open_pool(self.dsn, size=1)
        self.run(self.pool.open(wait=True))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        self.run(self.pool.close())
        self.run(self.connection.close())
        self._loop.close()

    def query(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        async def rows() -> list[dict[str, Any]]:
            cursor = await self.connection.execute(sql.encode(), params)
            return await cursor.fetchall() if cursor.description else []

        return self.run(rows())

    # Customers and time

    def bring(self, customer: str, number: int) -> None:
        """A provider brings a message, perhaps not for the first time."""
        message = Inbound(
            account="default",
            address=customer,
            provider_message_id=f"{customer}-{number}",
            text=f"question {number}",
            raw={"from": customer},
        )

        async def store() -> int:
            async with transaction(self.pool) as connection:
                return await store_inbound(connection, tenant_id=1, channel="simulator", messages=[message])

        stored = self.run(store())
        assert stored == (message.provider_message_id not in self.brought)
        self.brought.add(message.provider_message_id)

    def quiet_window(self, seconds: float) -> None:
        self.query(
            "INSERT INTO et_platform_settings (key, value)"
            " VALUES ('quiet_window', jsonb_build_object('seconds', %s::float, 'max_seconds', 10))"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            seconds,
        )

    def pass_time(self, seconds: float) -> None:
        """All that waits for a time waits this much less."""
        for table, columns in (
            ("et_threads", ("due_at", "burst_started_at", "lease_until", "auto_release_at")),
            ("et_messages", ("lease_until",)),
            ("et_outbound_queue", ("lease_until", "next_attempt_at")),
        ):
            moved = ", ".join(f"{column} = {column} - make_interval(secs => %s)" for column in columns)
            self.query(f"UPDATE {table} SET {moved}", *[seconds] * len(columns))

    # The inbound worker

    def claim(self, engine: str, threads: int = 10, burst: int = 3) -> int:
        found = self.run(
            claims.claim_turns(
                self.connection, engine=engine, threads=threads, lease_seconds=LEASE_SECONDS, burst=burst
            )
        )
        self.turns += [(engine, claim) for claim in found]
        return len(found)

    def complete(
        self, items: Sequence[tuple[int, TurnOutcome, bool]], *, restartable: bool
    ) -> list[Completed | None]:
        """One engine completes turns in one statement: (index in `turns`, outcome, hand over)."""
        engine = self.turns[items[0][0]][0]
        batch = [
            self._completion(self.turns[i][1], outcome, hand_over, restartable)
            for i, outcome, hand_over in items
        ]
        done = self.run(claims.complete_turns(self.connection, engine, batch))
        for (index, outcome, _), result in zip(items, done, strict=True):
            if result is not None and result.result is TurnOutcome.SUPERSEDED:
                self._start_over(index, outcome)
        return done

    def _start_over(self, index: int, outcome: TurnOutcome) -> None:
        engine, claim = self.turns[index]
        more = self.run(claims.extend_turn(self.connection, engine=engine, claim=claim))
        self.turns[index] = (engine, claim.extended(more))
        again = self._completion(self.turns[index][1], outcome, False, False)
        self.run(claims.complete_turns(self.connection, engine, [again]))

    @staticmethod
    def _completion(claim: Claim, outcome: TurnOutcome, hand_over: bool, restartable: bool) -> Completion:
        result = TurnResult(outcome, reason="test", started_at=claim.claimed_at)
        if outcome is TurnOutcome.REPLIED:
            result.text = f"answer to {claim.head_id}"
        elif outcome is TurnOutcome.TAKEOVER:
            result.hand_over = hand_over
        return Completion(
            claim=claim,
            result=result,
            kind=TurnKind.LIVE,
            agent_id=1,
            agent_version=1,
            simulated=True,
            restartable=restartable and claim.attempts == 1,
            wasted=None,
            retry_seconds=5.0,
        )

    def renew(self, engine: str) -> None:
        held = [claim for name, claim in self.turns if name == engine]
        self.run(claims.renew_turns(self.connection, engine=engine, claims=held, lease_seconds=LEASE_SECONDS))

    def give_back(self, engine: str) -> None:
        """A clean stop."""
        held = [claim for name, claim in self.turns if name == engine]
        self.run(claims.release_turns(self.connection, engine=engine, claims=held))
        mine = [leaving.send for leaving in self.sends if leaving.engine == engine]
        self.run(queue.release_sends(self.connection, engine=engine, sends=mine))

    def rescue(self) -> None:
        self.run(claims.rescue_turns(self.connection, max_attempts=MAX_ATTEMPTS))
        self.run(queue.rescue_sends(self.connection))

    def sweep(self) -> int:
        return self.run(claims.sweep_mailboxes(self.connection))

    # The dispatcher

    def claim_sends(self, engine: str, sends: int = 10) -> int:
        found = self.run(
            queue.claim_sends(
                self.connection, engine=engine, sends=sends, lease_seconds=LEASE_SECONDS, paused=[]
            )
        )
        self.sends += [Leaving(engine, send) for send in found]
        return len(found)

    def start(self, leavings: Sequence[Leaving], *, arrives: bool) -> None:
        """One engine marks sends in one statement; those it may send reach their customers, or do not."""
        fit = [
            leaving for leaving in leavings if leaving.engine == leavings[0].engine and not leaving.started
        ]
        if not fit:
            return
        answers = self.run(
            queue.start_sends(self.connection, fit[0].engine, [leaving.send for leaving in fit])
        )
        for leaving, started in zip(fit, answers, strict=True):
            leaving.started = started
            if not started:
                continue
            owner = self.query("SELECT owner FROM et_threads WHERE id = %s", leaving.send.thread_id)[0][
                "owner"
            ]
            if leaving.send.author == "ai" and owner == "human":
                self.ai_left_owned_thread.append(leaving.send.message_id)
            if arrives:
                self._deliver(leaving)

    def _deliver(self, leaving: Leaving) -> None:
        send = leaving.send
        leaving.arrival = Arrival(
            message_id=send.message_id,
            part=0,
            account=send.account,
            to=send.address or "",
            text=send.text or "",
            provider_message_id=f"far-{send.message_id}-{len(self.arrivals)}",
            at=datetime.now(UTC),
            conduct=Conduct.OK,
        )
        self.arrivals.append(leaving.arrival)

    def record(
        self, leaving: Leaving, status: OutboundStatus, outcome: Outcome | None, *, told_id: bool
    ) -> None:
        told = leaving.arrival.provider_message_id if leaving.arrival and told_id else None
        result = SendResult(
            leaving.send.queue_id,
            leaving.send.token,
            status,
            outcome,
            provider_message_id=told,
            retry_seconds=1.0,
        )
        self.run(queue.record_sends(self.connection, [result]))

    def promote(self) -> None:
        self.run(queue.promote_retries(self.connection))

    def receipt(self, arrival: Arrival, status: ReceiptStatus, *, ours: bool) -> None:
        news = Receipt(
            account=arrival.account,
            provider_message_id=arrival.provider_message_id,
            message_id=arrival.message_id if ours else None,
            status=status,
            at=datetime.now(UTC),
        )

        async def apply() -> None:
            async with transaction(self.pool) as connection:
                await receipts.apply_receipts(connection, "simulator", [news])
            await receipts.apply_pending_receipts(self.pool)

        self.run(apply())

    # People; what they may not do is refused and changes nothing

    def take_over(self, thread: int) -> None:
        self.run(takeover.take_over(self.pool, ANNA, thread, auto_release_minutes=5))

    def release(self, thread: int, *, answer_waiting: bool) -> None:
        self.run(takeover.release(self.pool, ANNA, thread, answer_waiting=answer_waiting))

    def release_due(self) -> None:
        self.run(takeover.release_due(self.pool))

    def replay(self, message: int) -> None:
        with suppress(Refused):
            self.run(replay.requeue(self.pool, ANNA, [message]))

    def retry_send(self, queue_id: int) -> None:
        with suppress(Refused):
            self.run(outbound.retry_send(self.pool, ANNA, queue_id))

    def cancel_send(self, queue_id: int) -> None:
        with suppress(Refused):
            self.run(outbound.cancel_send(self.pool, ANNA, queue_id))

    def mark_sent(self, queue_id: int) -> None:
        with suppress(Refused):
            self.run(outbound.mark_sent(self.pool, ANNA, queue_id))
