"""`background_inbound_worker_loop`: claims due threads and runs their turns, many at once.

    woken by NOTIFY, by the clock, or by a poll ──▶ claim ──▶ a task a turn: resolve ─▶ run_turn ─▶ complete

Completions of all turns go through one lane, which writes whatever has piled up in one commit.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from logging import DEBUG

import psycopg

from engine.database.connection import Connection, Lane, Pool
from engine.database.directory import Directory
from engine.in_flight import InFlight
from engine.inbound import claims, turn_line
from engine.inbound.claims import BURST_LIMIT, Claim, Completed, Completion
from engine.inbound.resolver import Resolver, UnresolvedMessage, resolve_lead
from engine.logs import get_logger
from engine.model import LLMResult, TurnKind, TurnOutcome, WorkerSnapshot
from engine.runtime.agent_runtime import ConversationAgentRuntime, NewMessage, TurnResult
from engine.sends import Outbox
from engine.settings import Settings

log = get_logger(__name__)
RETRY_BASE_SECONDS = 5.0
RETRY_CAP_SECONDS = 300.0
AFTER_TROUBLE_SECONDS = 1.0
BEGUN_AT_ONCE = 8
"""Turns begun in one round of the loop; each costs it up to a millisecond until its call has left."""
DEFER_SECONDS = 60.0
SCHEMA_SECONDS = 2.5
"""Longer than the supervisor takes to notice that the schema has changed."""


class InboundWorker:
    """The inbound worker of one engine."""

    def __init__(
        self,
        engine: str,
        pool: Pool,
        runtime: ConversationAgentRuntime,
        resolver: Resolver,
        directory: Callable[[], Directory],
        settings: Settings,
        *,
        blocked: Callable[[], bool],
        simulated: bool,
        on_queued: Callable[[], None],
        outbox: Outbox | None = None,
    ) -> None:
        """`blocked` tells when nothing may be claimed; `on_queued` hears when replies were queued.

        `outbox` takes as many of them at once as it has room for.
        """
        self._engine = engine
        self._pool = pool
        self._runtime = runtime
        self._resolver = resolver
        self._directory = directory
        self._settings = settings
        self._blocked = blocked
        self._simulated = simulated
        self._on_queued = on_queued
        self._outbox = outbox
        self._wake = asyncio.Event()
        self._turns: InFlight[Claim] = InFlight()
        self._stopping = False
        self._snapshot = WorkerSnapshot(in_flight_max=settings.turns_in_flight)
        self.lane: Lane[Completion, Completed] = Lane("complete", pool, self._complete_batch)

    def wake(self) -> None:
        """Look for work now; called on NOTIFY."""
        self._wake.set()

    async def background_inbound_worker_loop(self) -> None:
        """Claim and run turns until cancelled or stopped."""
        while not self._stopping:
            try:
                wait = await self._claim_all()
            except (psycopg.IntegrityError, psycopg.DataError) as error:
                self._trouble(f"claim: {error}")
                wait = await self._isolate()
            except (psycopg.Error, OSError) as error:
                self._trouble(f"claim: {error}")
                wait = AFTER_TROUBLE_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait)
            self._wake.clear()

    async def _claim_all(self) -> float:
        """Claim while there is work and room; seconds until it is worth looking again."""
        directory = self._directory()
        while not self._stopping:
            if self._blocked() or directory.settings.ai_paused:
                self._snapshot.state = "blocked" if self._blocked() else "paused"
                return self._settings.poll_seconds
            self._snapshot.state = "running"
            room = min(self._settings.claim_batch, self._settings.turns_in_flight - len(self._turns))
            if room <= 0:
                return self._settings.poll_seconds  # a turn that ends wakes us
            async with self._turns.claiming, self._pool.connection() as connection:
                if self._stopping:
                    break
                claimed = await self._claim(connection, threads=room)
                due = None if claimed else await claims.seconds_to_next_due(connection, self._paused)
                self._begin_all(claimed)
            if not claimed:
                poll = self._settings.poll_seconds
                return poll if due is None else min(poll, due + 0.002)
        return 0.0

    async def _isolate(self) -> float:
        """One thread's rows make every claim fail: find it by claiming singly, and put it off for a while."""
        for _ in range(self._settings.claim_batch):
            async with self._turns.claiming, self._pool.connection() as connection:
                if self._stopping:
                    break
                try:
                    claimed = await self._claim(connection, threads=1)
                except (psycopg.IntegrityError, psycopg.DataError) as error:
                    thread = await claims.defer_oldest(connection, DEFER_SECONDS, self._paused)
                    log.error("thread.unclaimable", thread_id=thread, error=str(error))
                    return 0.0
                self._begin_all(claimed)
            if not claimed:
                break
        return AFTER_TROUBLE_SECONDS

    async def _claim(self, connection: Connection, *, threads: int) -> list[Claim]:
        quiet = self._directory().settings.quiet_window.seconds
        return await claims.claim_turns(
            connection,
            engine=self._engine,
            threads=threads,
            lease_seconds=self._settings.lease_seconds,
            burst=BURST_LIMIT if quiet else 1,
            paused=self._paused,
        )

    @property
    def _paused(self) -> list[str]:
        return self._directory().settings.paused_channels

    def _begin_all(self, claimed: Sequence[Claim]) -> None:
        """Begin turns, a few in each round of the loop: what else it has to do does not wait for a hundred prompts."""
        for place, claim in enumerate(claimed):
            self._begin(claim, place // BEGUN_AT_ONCE)

    def _begin(self, claim: Claim, rounds: int) -> None:
        self._turns.begin(claim, self._turn(claim, rounds), self._ended)
        self._snapshot.claimed += len(claim.messages)
        self._snapshot.last_claim_at = claim.claimed_at

    def _ended(self, _: Claim, error: BaseException | None) -> None:
        if len(self._turns) == self._settings.turns_in_flight - 1:
            self._wake.set()
        if error is not None:
            self._trouble(f"turn: {error!r}")

    async def _turn(self, claim: Claim, rounds: int) -> None:
        """One turn from claim to commit, started over once if the customer wrote on meanwhile."""
        for _ in range(rounds):
            await asyncio.sleep(0)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        claim, first = await self._answer(claim)
        # A message that was tried before is answered alone, so that a bad one harms no other.
        restartable = self._directory().settings.quiet_window.seconds > 0 and claim.attempts == 1
        done = await self._complete(claim, first, restartable=restartable)
        if done.result is not TurnOutcome.SUPERSEDED:
            return
        more = await self._more(claim)
        if not more:
            await self._complete(claim, first, restartable=False)
            return
        now = claim.claimed_at + timedelta(seconds=loop.time() - begun)
        longer, second = await self._answer(replace(claim.extended(more), claimed_at=now), first.cost_usd)
        if (
            second.llm is None and first.llm is not None
        ):  # nobody was asked again: who was paid is who was asked first
            second.llm = LLMResult(text=None, provider=first.llm.provider, model=first.llm.model)
        await self._complete(longer, second, restartable=False, wasted=first)

    async def _more(self, claim: Claim) -> list[NewMessage]:
        """The messages that came since the claim, taken into the turn; none when the database is away, so that
        the answer there is does not get lost: the sweep frees what its commit may have taken."""
        try:
            async with self._pool.connection() as connection:
                return await claims.extend_turn(connection, engine=self._engine, claim=claim)
        except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
            self._trouble(f"message {claim.head_id} is answered without what came after it: {error}")
            return []

    async def _answer(self, claim: Claim, spent: Decimal | None = None) -> tuple[Claim, TurnResult]:
        """The claim with its lead, and the turn's result; a bad row or a defect of ours fails this turn alone.

        `spent`: USD that the turn has cost already, where it is started over.
        """
        try:
            claim = await resolve_lead(self._pool, claim)
            agent = self._resolver.agent_of(claim)
            request = self._resolver.request(claim, agent, spent=spent or Decimal())
            return claim, await self._runtime.run_turn(request)
        except UnresolvedMessage as error:
            result = TurnResult(TurnOutcome.ERROR, reason=error.reason, error=str(error))
        except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
            result = TurnResult(TurnOutcome.RETRY, reason="database", error=str(error))
        except Exception as error:
            log.exception("turn.failed", message_id=claim.head_id)
            result = TurnResult(
                TurnOutcome.ERROR, reason="runtime_error", error=f"{type(error).__name__}: {error}"
            )
        result.started_at = claim.claimed_at
        return claim, result

    async def _complete(
        self, claim: Claim, result: TurnResult, *, restartable: bool, wasted: TurnResult | None = None
    ) -> Completed:
        if result.outcome is TurnOutcome.RETRY and claim.attempts >= self._settings.max_attempts:
            result = replace(result, outcome=TurnOutcome.ERROR)
        agent = result.agent
        completion = Completion(
            claim=claim,
            result=result,
            kind=TurnKind.REPLAY if claim.asked_for else TurnKind.LIVE,
            agent_id=agent.id if agent else None,
            agent_version=agent.version if agent else None,
            simulated=self._simulated or claim.channel == "simulator",
            restartable=restartable,
            wasted=wasted,
            retry_seconds=min(RETRY_BASE_SECONDS * 2 ** (claim.attempts - 1), RETRY_CAP_SECONDS),
        )
        done = await self._write(completion)
        self._count(claim, result, done)
        return done

    async def _write(self, completion: Completion) -> Completed:
        """Commit a turn. While the schema is broken the answer is kept, so that it is not paid for twice."""
        refused = 0
        while refused < 2:
            try:
                return await self.lane.submit(completion)
            except psycopg.ProgrammingError as error:
                self._trouble(f"message {completion.claim.head_id} waits: {error}")
                await asyncio.sleep(SCHEMA_SECONDS)
                refused = 0 if self._blocked() else refused + 1
            except Exception as error:
                self._trouble(f"message {completion.claim.head_id} cannot be written: {error!r}")
                break
        return await self.lane.submit(self._without_answer(completion))

    def _without_answer(self, completion: Completion) -> Completion:
        """The completion of a turn whose record the database refuses: the message is tried again, or failed.

        What was said is left out, what it has cost is not.
        """
        llm = completion.result.llm
        last = completion.claim.attempts >= self._settings.max_attempts
        result = TurnResult(
            TurnOutcome.ERROR if last else TurnOutcome.RETRY,
            reason="not_written",
            error="The database refused the record of this turn; the log says why.",
            agent=completion.result.agent,
            llm=llm.model_copy(update={"text": None, "attempts": []}) if llm else None,
            started_at=completion.claim.claimed_at,
        )
        return replace(completion, result=result, wasted=None)

    async def _complete_batch(
        self, connection: Connection, batch: Sequence[Completion]
    ) -> list[Completed | None]:
        begun = asyncio.get_running_loop().time()
        done = await claims.complete_turns(connection, self._engine, batch, self._outbox)
        for completed in done:
            if completed is not None and completed.send is not None and self._outbox is not None:
                self._outbox.take(completed.send, begun)
        return done

    def _count(self, claim: Claim, result: TurnResult, done: Completed) -> None:
        snapshot = self._snapshot
        if log.isEnabledFor(DEBUG):
            turn_line.tell(claim, result, done)
        match done.result:
            case TurnOutcome.REPLIED:
                snapshot.replied += 1
                if done.send is None:
                    self._on_queued()
            case TurnOutcome.TAKEOVER | TurnOutcome.DRAFTED:
                snapshot.takeovers += 1
            case TurnOutcome.ERROR:
                snapshot.errors += 1
                self._trouble(f"message {claim.head_id}: {result.reason}: {result.error}")
            case TurnOutcome.RETRY:
                snapshot.retried += 1
                self._wake.set()
            case TurnOutcome.LOST_CLAIM:
                snapshot.lost_claims += 1
                log.warning("turn.claim_lost", message_id=claim.head_id)

    def _trouble(self, what: str) -> None:
        self._snapshot.last_error, self._snapshot.last_error_at = what[:500], datetime.now(UTC)
        log.error("inbound.trouble", error=what)

    async def heartbeat(self) -> None:
        """Renew the leases of running turns."""
        held = self._turns.items
        if not held:
            return
        # A turn whose claim was lost goes on: its text may still serve as a draft. The fence keeps it from more.
        async with self._pool.connection() as connection:
            await claims.renew_turns(
                connection, engine=self._engine, claims=held, lease_seconds=self._settings.lease_seconds
            )

    async def rescue(self) -> None:
        """Free what engines that stopped answering have held."""
        async with self._pool.connection() as connection:
            freed = await claims.rescue_turns(connection, max_attempts=self._settings.max_attempts)
        if freed:
            self._snapshot.rescued += len(freed)
            log.warning("turns.rescued", messages=[row["id"] for row in freed])
            self.wake()

    async def sweep(self) -> None:
        """Heal mailboxes that do not know of their messages."""
        async with self._pool.connection() as connection:
            if healed := await claims.sweep_mailboxes(connection):
                log.warning("mailboxes.healed", threads=healed)
                self.wake()

    @property
    def snapshot(self) -> WorkerSnapshot:
        """What the worker is doing now."""
        return self._snapshot.model_copy(update={"in_flight": len(self._turns)})

    async def drain(self, seconds: float) -> None:
        """Claim no more, let running turns end, and give back those that have not ended in time."""
        self._stopping = True
        self._snapshot.state = "stopping"
        self._wake.set()
        if left := await self._turns.wind_down(seconds):
            async with self._pool.connection() as connection:
                released = await claims.release_turns(connection, engine=self._engine, claims=left)
            log.info("turns.released", turns=released)
