"""Customers, an engine and several people at the same threads at once: nobody is told of an error, all is legal."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from engine.database.connection import connect
from engine.inbound.claims import rescue_turns
from engine.model import OutboundStatus, TurnOutcome
from engine.operator.audit import Busy, Operator, Refused
from engine.operator.outbound import Act, act_on_sends
from engine.operator.replay import requeue
from engine.operator.reply import send_reply
from engine.operator.takeover import release, release_due, take_over
from engine.outbound import queue
from tests.operator.world import ENGINE, World

SECONDS = 3.0
SETTLING: list[Act] = ["cancel", "mark_sent"]
CUSTOMERS = [f"c{number}" for number in range(4)]


class Crowd:
    """Everybody who acts, each on a connection of their own, until the time is over."""

    def __init__(self, w: World) -> None:
        self.w, self.rng, self.done = w, random.Random(7), Counter[str]()
        self.stop = asyncio.Event()

    async def run(self) -> None:
        people = [self.person(Operator(name, "desk")) for name in ("anna", "ben")]
        parts = [self.customers(), self.answerer(), self.answerer(), self.sender(), self.upkeep(), *people]
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part)
            await asyncio.sleep(SECONDS)
            self.stop.set()

    async def customers(self) -> None:
        while not self.stop.is_set():
            await self.w.insert("hello", self.rng.choice(CUSTOMERS))
            await asyncio.sleep(0.005)

    async def answerer(self) -> None:
        """An inbound worker: some turns fail, some are too slow."""
        async with await connect(self.w.dsn) as engine:
            while not self.stop.is_set():
                for claim in await self.w.claim(connection=engine):
                    await asyncio.sleep(self.rng.uniform(0, 0.02))
                    outcome = self.rng.choice([TurnOutcome.REPLIED, TurnOutcome.REPLIED, TurnOutcome.ERROR])
                    while (done := await self.w.complete(claim, outcome, connection=engine)) is None:
                        self.done["locked"] += 1
                    self.done[done.result] += 1
                await asyncio.sleep(0.002)

    async def sender(self) -> None:
        """A dispatcher: sends end in every way there is."""
        ends = [
            ("sent", "confirmed"),
            ("retry_scheduled", None),
            ("failed", "unknown"),
            ("failed", "rejected"),
        ]
        async with await connect(self.w.dsn) as engine:
            while not self.stop.is_set():
                sends = await queue.claim_sends(engine, engine=ENGINE, sends=5, lease_seconds=60, paused=[])
                await asyncio.sleep(self.rng.uniform(0, 0.01))
                for send in sends:
                    if not await self.w.start(send, engine):
                        self.done["not started"] += 1
                        continue
                    status, outcome = self.rng.choice(ends)
                    result = queue.SendResult(send.queue_id, send.token, OutboundStatus(status), outcome)
                    assert await queue.record_sends(engine, [result])
                    self.done[status] += 1
                await queue.promote_retries(engine)
                await asyncio.sleep(0.002)

    async def upkeep(self) -> None:
        async with await connect(self.w.dsn) as engine:
            while not self.stop.is_set():
                await rescue_turns(engine, max_attempts=5)
                await queue.rescue_sends(engine)
                self.done["handed back by timer"] += len(await release_due(self.w.pool))
                await asyncio.sleep(0.02)

    async def person(self, who: Operator) -> None:
        while not self.stop.is_set():
            try:
                await self.act(who)
                self.done["acts"] += 1
            except Busy:
                raise
            except Refused:
                self.done["refused"] += 1
            await asyncio.sleep(0.001)

    async def act(self, who: Operator) -> None:
        pool, rng = self.w.pool, self.rng
        thread_id = rng.randint(1, len(CUSTOMERS))
        some = rng.sample(range(1, 200), 5)
        match rng.randrange(6):
            case 0:
                await take_over(pool, who, thread_id, auto_release_minutes=rng.choice([0.0001, 30]))
            case 1:
                await release(pool, who, thread_id, answer_waiting=rng.random() < 0.5)
            case 2:
                await send_reply(pool, who, thread_id, "I am here")
            case 3:
                await requeue(pool, who, some)
            case 4:
                await act_on_sends(pool, who, "resend", some)
            case _:
                await act_on_sends(pool, who, rng.choice(SETTLING), some)


async def test_nobody_gets_in_anybody_s_way(w: World) -> None:
    for customer in CUSTOMERS:
        await w.insert("first", customer)
    crowd = Crowd(w)
    await crowd.run()
    assert crowd.done["acts"] > 20, crowd.done

    for thread in await w.query("SELECT * FROM et_threads"):
        audits = await w.query(
            "SELECT act, before FROM et_audit_log WHERE subject = %s ORDER BY id", f"thread:{thread['id']}"
        )
        changes = [
            a
            for a in audits
            if a["act"] == "release" or (a["act"] == "takeover" and a["before"]["owner"] == "ai")
        ]
        assert thread["epoch"] == len(changes), "every change of owner is audited, and bumps the epoch once"
        assert [a["act"] for a in changes] == ["takeover", "release"] * (len(changes) // 2) + ["takeover"] * (
            len(changes) % 2
        )
        assert thread["owner"] == ("human" if len(changes) % 2 else "ai")
        if thread["owner"] == "human":
            assert thread["holder"] is None
            waiting = await w.query(
                """SELECT id FROM et_outbound_queue
                    WHERE thread_id = %s AND author = 'ai' AND status = 'queued' AND attempts = 0""",
                thread["id"],
            )
            assert waiting == []
    mirrored = await w.query(
        """SELECT q.id FROM et_outbound_queue q JOIN et_messages m ON m.id = q.message_id
            WHERE m.delivery_status <> q.status"""
    )
    assert mirrored == [], "a message says what its send says"
    lost = await w.query(
        """SELECT m.id FROM et_messages m JOIN et_threads t ON t.id = m.thread_id
            WHERE m.direction = 'inbound' AND m.delivery_status = 'received'
              AND t.due_at IS NULL AND t.holder IS NULL"""
    )
    assert lost == [], "no message waits unknown to its thread"
