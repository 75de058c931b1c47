"""An invented past for the demonstration: some days of conversations, as if the engine had run all the time.

Stored behind the triggers' back, since no row can be received last Tuesday; what they would have seen to
(threads, legal statuses, one reply with one queue row, rising ids, usage by the hour) holds all the same.
Verdicts, prompts and prices come from the code that makes the real ones.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from engine.demo import bistro
from engine.demo.past import ENGINE, Past, PastMessage, PastThread, PastTurn, Row, store
from engine.demo.personas import PERSONAS, Conversation, Customer, Line, Saying, Town
from engine.llm import pricing
from engine.llm.routing import DEFAULT_ROUTING
from engine.model import AITrace, FailureClass, LLMAttempt, Usage
from engine.runtime import policy
from engine.runtime.context_builder import Said, build_context, canary_of, estimate_tokens, readable
from engine.runtime.policy import AgentPolicy, Situation

DAYS = 6
CONVERSATIONS = 190
RECENT = 12
"""Conversations that began within the last hour."""
#: How busy each hour of the day is: lunch and dinner.
BUSY = (0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 6, 10, 10, 6, 3, 3, 5, 9, 12, 10, 6, 3, 1, 0)
QUIET_SECONDS = 2.0
FALLBACK_SHARE = 0.06
HISTORY_TOKENS = 6000
COLLEAGUE = "Lena"
HUMAN_REPLY = "Hello, this is Lena from the team. I have taken care of it; is there anything else?"


def write_history(connection: psycopg.Connection[Any], rng: random.Random) -> None:
    """Fill a fresh, migrated database with a past. Needs a superuser."""
    row = connection.execute("SELECT now(), (SELECT min(id) FROM et_agents WHERE tenant_id = 1)").fetchone()
    assert row is not None
    store(connection, _Inventor(rng, row[0].astimezone(UTC), row[1]).invent())


class _Inventor:
    """Makes up conversations that ended before `now`."""

    def __init__(self, rng: random.Random, now: datetime, agent_id: int) -> None:
        self._rng, self._now, self._agent_id = rng, now, agent_id
        self._canary = canary_of(agent_id, bistro.VERSION, bistro.PROMPT)
        self._policy = AgentPolicy.model_validate(bistro.POLICY)
        self._past = Past()
        self._threads: dict[str, PastThread] = {}

    def invent(self) -> Past:
        """The whole past."""
        town = Town(self._rng)
        people = [town.customer() for _ in range(CONVERSATIONS * 2 // 3)]
        kinds = [persona for persona in PERSONAS if persona.name != "bot"]
        for at in self._moments():
            persona = self._rng.choices(kinds, [kind.weight for kind in kinds])[0]
            self._converse(town.conversation(persona, self._rng.choice(people)), at)
        return self._past

    def _moments(self) -> list[datetime]:
        """When conversations began, oldest first: more each day, and by the hour as people eat."""
        midnight = self._now.replace(hour=0, minute=0, second=0, microsecond=0)
        moments = [self._now - self._seconds(400, 3600) for _ in range(RECENT)]
        while len(moments) < CONVERSATIONS:
            (day,) = self._rng.choices(range(DAYS + 1), [10 - ago for ago in range(DAYS + 1)])
            (hour,) = self._rng.choices(range(24), BUSY)
            at = midnight - timedelta(days=day) + timedelta(hours=hour) + self._seconds(0, 3600)
            if at < self._now - timedelta(minutes=10):
                moments.append(at)
        return sorted(moments)

    def _seconds(self, least: float, most: float) -> timedelta:
        return timedelta(seconds=self._rng.uniform(least, most))

    def _converse(self, conversation: Conversation, at: datetime) -> None:
        """One conversation from `at` on, until it is over or a person has it."""
        thread = self._thread(conversation.customer, at)
        if thread.owner == "human" or thread.opted_out_at or (thread.said and thread.said[0].created_at > at):
            return
        for saying in conversation.sayings:
            if at > self._now - timedelta(minutes=4):
                return
            said_at = self._turn(thread, saying, at)
            if said_at is None:
                return
            at = said_at + self._seconds(15, 90)

    def _thread(self, customer: Customer, at: datetime) -> PastThread:
        thread = self._threads.get(customer.address)
        if thread is None:
            thread = self._threads[customer.address] = PastThread(customer, at)
            self._past.threads.append(thread)
        return thread

    def _turn(self, thread: PastThread, saying: Saying, at: datetime) -> datetime | None:
        """A burst and what became of it; when the answer came, None when the AI gave none."""
        burst = self._burst(thread, saying, at)
        claimed_at = burst[-1].at + timedelta(seconds=QUIET_SECONDS, milliseconds=self._rng.uniform(2, 9))
        thread.claims += 1
        texts = [readable(message.text, message.row["raw_payload"]["kind"]) for message in burst]
        verdicts, block = policy.before(
            Situation(
                now=claimed_at,
                has_agent=True,
                texts=texts,
                oldest_new=burst[0].at,
                history=thread.said,
                opted_out=False,
                window_hours=None,
                max_age_hours=24.0,
                replies_per_hour=bistro.POLICY["replies_per_hour"],
                human_phrases=self._policy.human_phrases,
            )
        )
        common = {"kind": "live", "agent_id": self._agent_id, "agent_version": bistro.VERSION, "task": "conversation"}
        common |= {"burst": len(burst), "claim_token": thread.claims, "started_at": claimed_at}
        record = [verdict.model_dump() for verdict in verdicts]
        if block is None:
            return self._reply(thread, burst, texts, claimed_at, common, record)
        ended_at = claimed_at + timedelta(milliseconds=self._rng.uniform(4, 15))
        self._close(burst, "inbound_human_takeover", claimed_at, ended_at, block.reason, block.detail)
        self._remember(thread, burst, texts)
        ending = {"outcome": "takeover", "reason": block.reason, "error": block.detail, "finished_at": ended_at}
        empty: Row = {name: None for name in _ANSWER_COLUMNS}
        row = common | empty | ending | {"attempts": [], "verdicts": record, "context": {}}
        self._past.turns.append(PastTurn(burst[0], None, row))
        if block.opt_out:
            thread.opted_out_at = ended_at
        if block.hand_over:
            self._hand_over(thread, ended_at)
        return None
