"""An invented past for the demonstration: some days of conversations, as if the engine had run all the time.

Stored behind the triggers' back, since no row can be received last Tuesday; what they would have seen to
(threads, legal statuses, one reply with one queue row, rising ids, usage by the hour) holds all the same.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from engine.demo import bistro
from engine.demo.past import ENGINE, Past, PastMessage, PastThread, PastTurn, Row, store
from engine.demo.past_turns import TASK, PastAgent
from engine.demo.personas import PERSONAS, Conversation, Customer, Saying, Town
from engine.model import TurnOutcome
from engine.runtime.agent_runtime import NewMessage, TurnResult, record
from engine.runtime.context_builder import Said, readable

DAYS = 6
CONVERSATIONS = 190
RECENT = 12
"""Conversations that began within the last hour."""
#: How busy each hour of the day is: lunch and dinner.
BUSY = (0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 6, 10, 10, 6, 3, 3, 5, 9, 12, 10, 6, 3, 1, 0)
QUIET = timedelta(seconds=2)
SETTLED = timedelta(minutes=4)
"""The past ends this long ago, so that everything in it has come to its end."""
COLLEAGUE = "Lena"
HUMAN_REPLY = "Hello, this is Lena from the team. I have taken care of it; is there anything else?"


def write_history(connection: psycopg.Connection[Any], rng: random.Random) -> None:
    """Fill a fresh, migrated database with a past. Needs a superuser."""
    row = connection.execute("SELECT now(), (SELECT min(id) FROM et_agents WHERE tenant_id = 1)").fetchone()
    assert row is not None
    store(connection, _Inventor(rng, row[0].astimezone(UTC), row[1]).invent())


class _Inventor:
    """Makes up conversations that began before `now`."""

    def __init__(self, rng: random.Random, now: datetime, agent_id: int) -> None:
        self._rng, self._now, self._agent_id = rng, now, agent_id
        self._agent = PastAgent(agent_id, rng)
        self._past = Past()
        self._threads: dict[str, PastThread] = {}

    def invent(self) -> Past:
        """The whole past."""
        town = Town(self._rng)
        people = [town.customer() for _ in range(CONVERSATIONS * 2 // 3)]
        kinds = [persona for persona in PERSONAS if persona.name != "bot"]
        impatient = next(kind for kind in kinds if kind.name == "human")
        moments = self._moments()
        waiting = moments[-5::2]  # so that somebody waits for a person when the demonstration begins
        for at in moments:
            persona = impatient if at in waiting else self._drawn(kinds, [kind.weight for kind in kinds])
            self._converse(town.conversation(persona, self._rng.choice(people)), at)
        return self._past

    def _moments(self) -> list[datetime]:
        """When conversations began, oldest first: more each day, and by the hour as people eat."""
        midnight = self._now.replace(hour=0, minute=0, second=0, microsecond=0)
        moments = [self._now - self._span(400, 3600) for _ in range(RECENT)]
        while len(moments) < CONVERSATIONS:
            day = self._drawn(range(DAYS + 1), [10 - ago for ago in range(DAYS + 1)])
            hour = self._drawn(range(24), BUSY)
            at = midnight - timedelta(days=day) + timedelta(hours=hour) + self._span(0, 3600)
            if at < self._now - timedelta(minutes=10):
                moments.append(at)
        return sorted(moments)

    def _drawn(self, population: Any, weights: Any) -> Any:
        return self._rng.choices(population, weights)[0]

    def _span(self, least: float, most: float) -> timedelta:
        """Some seconds."""
        return timedelta(seconds=self._rng.uniform(least, most))

    def _converse(self, conversation: Conversation, at: datetime) -> None:
        """One conversation from `at` on, until it is over or the AI may not answer."""
        thread = self._threads.get(conversation.customer.address)
        if thread is None:
            thread = self._open(conversation.customer, at)
        elif thread.owner == "human" or thread.opted_out_at or thread.last_at + SETTLED > at:
            return
        for saying in conversation.sayings:
            answered_at = self._turn(thread, saying, at)
            if answered_at is None:
                return
            at = answered_at + self._span(15, 90)
            if at > self._now - SETTLED:
                return

    def _open(self, customer: Customer, at: datetime) -> PastThread:
        thread = self._threads[customer.address] = PastThread(customer, at, at)
        self._past.threads.append(thread)
        return thread

    def _turn(self, thread: PastThread, saying: Saying, at: datetime) -> datetime | None:
        """A burst and what became of it; when the AI's answer arrived, None when there was none."""
        burst = self._burst(thread, saying, at)
        claimed_at = burst[-1].at + QUIET + self._span(0.002, 0.009)
        new = [NewMessage(0, m.text, m.row["raw_payload"]["kind"], m.at) for m in burst]
        after_human = bool(thread.said) and thread.said[0].author == "human"
        result = self._agent.turn(thread.customer.name, thread.said, new, claimed_at, after_human=after_human)
        ended_at = (result.answered_at or claimed_at) + self._span(0.003, 0.012)
        thread.claims += 1
        self._close(thread, burst, result, ended_at)
        for message in new:
            thread.said.insert(
                0, Said(0, "customer", readable(message.text, message.kind), message.created_at)
            )
        if result.outcome is TurnOutcome.REPLIED:
            reply = self._reply(thread, burst[0], result, ended_at)
            self._record(burst, reply, result, ended_at)
            return thread.last_at
        self._record(burst, None, result, ended_at)
        self._not_answered(thread, result, ended_at)
        return None

    def _burst(self, thread: PastThread, saying: Saying, at: datetime) -> list[PastMessage]:
        burst: list[PastMessage] = []
        for line in saying:
            payload = {"from": thread.customer.address, "name": thread.customer.name, "kind": line.kind}
            row: Row = {"author": "customer", "raw_payload": payload | {"simulated": True}}
            head = burst[0] if burst else None
            burst.append(PastMessage(at, thread, False, line.text or "", row, head=head))
            at += self._span(0.4, 1.6)
        self._past.messages += burst
        return burst

    def _close(
        self, thread: PastThread, burst: list[PastMessage], result: TurnResult, ended_at: datetime
    ) -> None:
        replied = result.outcome is TurnOutcome.REPLIED
        for message in burst:
            message.head = message.head if replied else None
            message.row |= {
                "delivery_status": "inbound_ai_replied" if replied else "inbound_human_takeover",
                "attempts": 1,
                "claim_token": thread.claims,
                "claimed_by": ENGINE,
                "claimed_at": result.started_at,
                "replied_at": ended_at if replied else None,
                "updated_at": ended_at,
                "reason": result.reason,
                "last_error": result.error,
            }

    def _record(
        self, burst: list[PastMessage], reply: PastMessage | None, result: TurnResult, ended_at: datetime
    ) -> None:
        row = record(result) | {
            "kind": "live",
            "outcome": result.outcome,
            "reason": result.reason,
            "error": result.error,
            "agent_id": self._agent_id,
            "agent_version": bistro.VERSION,
            "task": TASK,
            "burst": len(burst),
            "claim_token": burst[0].row["claim_token"],
            "finished_at": ended_at,
        }
        self._past.turns.append(PastTurn(burst[0], reply, row))

    def _reply(self, thread: PastThread, head: PastMessage, result: TurnResult, at: datetime) -> PastMessage:
        assert result.trace is not None
        row: Row = {
            "raw_payload": {"ai_trace": result.trace.model_dump(mode="json")},
            "llm_provider": result.trace.provider,
            "llm_model": result.trace.model,
            "llm_prompt_tokens": result.usage.prompt_tokens,
            "llm_completion_tokens": result.usage.completion_tokens,
            "llm_total_tokens": result.usage.total_tokens,
            "llm_estimated_cost_usd": result.cost_usd,
        }
        reply = self._sent(thread, "ai", result.text or "", row, at)
        reply.answers = head
        return reply

    def _sent(self, thread: PastThread, author: str, text: str, row: Row, at: datetime) -> PastMessage:
        """A message to the customer, with the times of its way."""
        started_at = at + self._span(0.004, 0.02)
        sent_at = started_at + self._span(0.04, 0.2)
        delivered_at = sent_at + self._span(0.3, 2)
        read_at = delivered_at + self._span(2, 180)
        row |= {
            "author": author,
            "delivery_status": "sent",
            "send_started_at": started_at,
            "sent_at": sent_at,
            "delivered_at": delivered_at,
            "read_at": read_at if self._rng.random() < 0.75 else None,
            "updated_at": delivered_at,
        }
        message = PastMessage(at, thread, True, text, row, epoch=thread.epoch)
        self._past.messages.append(message)
        thread.said.insert(0, Said(0, "ai" if author == "ai" else "human", text, at))
        thread.last_at = delivered_at
        return message

    def _not_answered(self, thread: PastThread, result: TurnResult, at: datetime) -> None:
        """The customer wants no more messages, or a colleague, who comes in a while and stays for a while."""
        thread.last_at = at
        if result.opt_out:
            thread.opted_out_at = at
        if not result.hand_over:
            return
        thread.owner, thread.owner_since, thread.epoch = "human", at, thread.epoch + 1
        answered_at = at + self._span(120, 1500)
        if answered_at > self._now - SETTLED:
            return
        thread.operator = COLLEAGUE
        self._sent(thread, "human", HUMAN_REPLY, {"raw_payload": None}, answered_at)
        released_at = answered_at + self._span(600, 3600)
        if released_at < self._now:
            thread.owner, thread.operator, thread.epoch = "ai", None, thread.epoch + 1
            thread.owner_since = thread.human_until = thread.last_at = released_at
