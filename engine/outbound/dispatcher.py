"""The outbound dispatcher: sends what is queued through its channel, and records what became of it.

    queued ──▶ claim (T3) ──▶ mark as started, commit (T4) ──▶ channel.send ──▶ record (T5)
                    a fresh reply that nothing holds back comes marked ──▲

A send that has started and got no readable answer is `failed` with outcome `unknown`: never sent again by
itself. No transaction is open while the channel is called.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta

import psycopg

from engine.channels.base import Channel, Outgoing, SendError
from engine.channels.registry import ChannelRegistry, ChannelUnknown
from engine.channels.wire import leave_by
from engine.database.connection import Connection, Lane, Pool
from engine.database.directory import Directory
from engine.in_flight import InFlight
from engine.logs import get_logger
from engine.model import Blocker, DispatcherSnapshot, OutboundStatus, Outcome
from engine.outbound import queue
from engine.outbound.holds import Holds
from engine.outbound.judge import Judge, rejected, too_late
from engine.outbound.pacing import Pacer, quiet_until
from engine.outbound.queue import SendResult
from engine.sends import Send, Words
from engine.settings import Settings

log = get_logger(__name__)
WINDOW = timedelta(hours=24)
WINDOW_CLOSED = "The customer's 24 h window is closed; a template is needed."
PATIENCE_SECONDS = 10.0
"""A message that may leave within this time is held until then; one that must wait longer is queued for later."""
LEASE_MARGIN_SECONDS = PATIENCE_SECONDS + 20.0
AFTER_TROUBLE_SECONDS = 1.0


class OutboundDispatcher:
    """The dispatcher of one engine."""

    def __init__(
        self,
        engine: str,
        pool: Pool,
        channels: ChannelRegistry,
        settings: Settings,
        *,
        blocked: Callable[[], bool],
        directory: Callable[[], Directory] = Directory,
        rng: random.Random | None = None,
    ) -> None:
        """`blocked` tells when nothing may be claimed; `directory` knows the workspaces' quiet hours."""
        self._engine = engine
        self._pool = pool
        self._channels = channels
        self._settings = settings
        self._blocked = blocked
        self._directory = directory
        self._pacer = Pacer()
        self._wake = asyncio.Event()
        self._sends: InFlight[Send] = InFlight()
        self._holds = Holds()
        self._judge = Judge(self._holds, settings, resumed=self.wake, rng=rng)
        self._stopping = False
        self._snapshot = DispatcherSnapshot(in_flight_max=settings.sends_in_flight)
        self.start_lane: Lane[Send, bool] = Lane("start", pool, self._start_batch)
        self.record_lane: Lane[SendResult, bool] = Lane("record", pool, queue.record_sends)

    @property
    def snapshot(self) -> DispatcherSnapshot:
        """What the dispatcher is doing now."""
        return self._snapshot.model_copy(
            update={"in_flight": len(self._sends), "paused_channels": list(self.paused)}
        )

    @property
    def lease_seconds(self) -> float:
        """How long a send is held: as long as its call may take, and what may come before it."""
        return self._settings.send_timeout_seconds + LEASE_MARGIN_SECONDS

    @property
    def paused(self) -> Collection[str]:
        """Routes that are left alone for now."""
        return self._holds.closed(time.monotonic())

    def room(self) -> int:
        """How many more sends can be in flight."""
        if self._stopping or self._blocked():
            return 0
        return max(0, self._settings.sends_in_flight - len(self._sends))

    def leaves_at_once(self, words: Words) -> bool:
        """Whether nothing holds these words back. Takes their turn in the rates; unused, it costs a moment."""
        agent = self._directory().agent_for(words.tenant_id, words.channel, words.account)
        # A turn claimed before quiet hours may be written within them, so where there are any, T4 decides.
        if (agent is not None and agent.quiet_from) or not self._holds.free(words.route):
            return False
        if self._refusal(words) is not None:
            return False
        try:
            channel = self._channels.get(words.channel, words.account)
        except ChannelUnknown:
            return False
        return self._reserve(channel, words, 0.0) <= 0

    def take(self, send: Send, claimed: float) -> None:
        """Send what is claimed already: the reply of a turn that was just committed."""
        self._begin(send, claimed)

    @property
    def blockers(self) -> list[Blocker]:
        """Why accounts are left alone, where a person must act."""
        return self._holds.blockers

    def wake(self) -> None:
        """Look for sends now."""
        self._wake.set()

    def heard_health(self, route: str, well: bool) -> None:
        """What a check of the account found; a held one that is well again is tried."""
        if self._holds.healthy(route, well, time.monotonic()):
            log.info("channel.resumed", channel=route)
            self.wake()

    def heard_stop(self, blocker: Blocker) -> None:
        """The far end says after the fact that an account may not send; `blocker.where` names it."""
        seconds = self._holds.stop(blocker.where, blocker, time.monotonic(), by_receipt=True)
        log.warning("channel.paused", channel=blocker.where, seconds=round(seconds), why=blocker.what)

    def heard_arrival(self, route: str) -> None:
        """A message of the account got through."""
        if self._holds.arrived(route):
            log.info("channel.resumed", channel=route)
            self.wake()

    async def serve(self) -> None:
        """Claim and send until cancelled or stopped."""
        while not self._stopping:
            try:
                wait = await self._claim_all()
            except (psycopg.Error, OSError) as error:
                self._trouble(f"claim: {error}")
                wait = AFTER_TROUBLE_SECONDS
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait)
            self._wake.clear()

    async def _claim_all(self) -> float:
        """Claim while there is work and room; seconds until it is worth looking again."""
        poll = self._settings.poll_seconds
        while not self._stopping:
            if self._blocked():
                self._snapshot.state = "blocked"
                return poll
            self._snapshot.state = "running"
            room = self.room()
            if room <= 0:
                return poll  # a send that ends wakes us
            async with self._sends.claiming, self._pool.connection() as connection:
                if self._stopping:
                    break
                begun = asyncio.get_running_loop().time()  # the lease counts from then at the earliest
                claimed = await queue.claim_sends(
                    connection,
                    engine=self._engine,
                    sends=room,
                    lease_seconds=self.lease_seconds,
                    paused=self.paused,
                )
                due = None if claimed else await queue.seconds_to_next_send(connection)
                if due == 0.0 and not await queue.promote_retries(connection):
                    due = None  # what is due waits for its thread or its channel
                for send in claimed:
                    self._begin(send, begun)
            if not claimed and due != 0.0:
                return poll if due is None else min(poll, due + 0.002)
        return 0.0

    def _begin(self, send: Send, claimed: float) -> None:
        self._sends.begin(send, self._send(send, claimed), self._ended)

    def _ended(self, send: Send, error: BaseException | None) -> None:
        self._holds.over(send.route, send.queue_id)
        self._wake.set()  # the thread's next send may go now
        if error is not None:
            self._trouble(f"send: {error!r}")

    async def _send(self, send: Send, claimed: float) -> None:
        """One send from claim to record. `claimed`: the loop's time just before the claim."""
        if not send.started and (refuse := self._refusal(send)):
            await self._record(refuse(send))
            return
        try:
            channel = self._channels.get(send.channel, send.account)
        except ChannelUnknown as error:
            await self._record(self._judge.no_channel(send, error))
            return
        if not send.started and not await self._start(channel, send):
            return
        # After this the lease no longer covers the call (this engine was frozen): others may have gone on.
        leave_by.set(claimed + LEASE_MARGIN_SECONDS)
        if asyncio.get_running_loop().time() >= leave_by.get():
            await self._record(too_late(send))
        else:
            await self._record(await self._through(channel, send))

    async def _start(self, channel: Channel, send: Send) -> bool:
        """Wait for what holds a message back and mark it as started; False: it does not leave now."""
        wait = self._holds.wait(send.route, send.queue_id, time.monotonic()) or self._wait(channel, send)
        if wait > PATIENCE_SECONDS:
            await self._postpone(send, wait)
            return False
        if wait > 0:
            await asyncio.sleep(wait)
        if not await self.start_lane.submit(send):
            self._snapshot.cancelled += 1
            return False
        return True

    def _refusal(self, words: Words) -> Callable[[Send], SendResult] | None:
        """What becomes of a send whose words cannot be sent at all; None when they can."""
        if not words.address:
            return lambda send: rejected(
                send, "no_address", "It is not known where this customer is written to."
            )
        if not (words.text or "").strip():
            return lambda send: rejected(send, "no_text", "The message has no text.")
        windowed = any(c.capabilities.window_24h for c in self._channels.accounts(words.channel))
        if windowed and (words.last_inbound_at is None or words.claimed_at - words.last_inbound_at > WINDOW):
            return lambda send: rejected(send, "window_closed", WINDOW_CLOSED, hand_over=True)
        return None

    def _wait(self, channel: Channel, send: Send) -> float:
        """Seconds until this message may leave: quiet hours for what the AI says, and the channel's rates."""
        if send.author == "ai":
            agent = self._directory().agent_for(send.tenant_id, send.channel, send.account)
            if agent is not None:
                until = quiet_until(send.claimed_at, agent.timezone, agent.quiet_from, agent.quiet_to)
                if until is not None:
                    return max((until - send.claimed_at).total_seconds(), PATIENCE_SECONDS + 1)
        return self._reserve(channel, send, PATIENCE_SECONDS)

    def _reserve(self, channel: Channel, words: Words, most: float) -> float:
        now = asyncio.get_running_loop().time()
        return self._pacer.reserve(now, words.route, words.address or "", channel.capabilities, most)

    async def _postpone(self, send: Send, seconds: float) -> None:
        async with self._pool.connection() as connection:
            await queue.postpone_sends(connection, self._engine, [send], [seconds])

    async def _through(self, channel: Channel, send: Send) -> SendResult:
        """Hand a started message to its channel, once."""
        assert send.address is not None
        assert send.text is not None
        outgoing = Outgoing(
            message_id=send.message_id,
            queue_id=send.queue_id,
            tenant_id=send.tenant_id,
            account=send.account,
            to=send.address,
            text=send.text,
            reply_to=send.reply_to,
            attempt=send.attempts,
        )
        timeout = self._settings.send_timeout_seconds
        try:
            async with asyncio.timeout(timeout + 5):
                sent = await channel.send(outgoing, timeout=timeout)
        except SendError as error:
            return self._judge.failed(send, error)
        except Exception as error:
            log.exception("send.failed", message_id=send.message_id)
            return self._judge.inconclusive(send, f"{type(error).__name__}: {error}")
        return self._judge.sent(send, sent)

    async def _record(self, result: SendResult) -> None:
        if not await self.record_lane.submit(result):
            log.warning("send.claim_lost", queue_id=result.queue_id)
            return
        self._count(result)

    def _count(self, result: SendResult) -> None:
        snapshot = self._snapshot
        snapshot.last_send_at = datetime.now(UTC)
        match result.status:
            case OutboundStatus.SENT:
                snapshot.sent += 1
            case OutboundStatus.ACCEPTED:
                snapshot.accepted += 1
            case OutboundStatus.RETRY_SCHEDULED:
                snapshot.retried += 1
            case _ if result.outcome is Outcome.UNKNOWN:
                snapshot.unknown += 1
            case _:
                snapshot.failed += 1
        if result.error:
            self._trouble(f"send {result.queue_id}: {result.error_class}: {result.error}")

    def _trouble(self, what: str) -> None:
        self._snapshot.last_error, self._snapshot.last_error_at = what[:500], datetime.now(UTC)
        log.warning("outbound.trouble", error=what)

    async def _start_batch(self, connection: Connection, batch: Sequence[Send]) -> list[bool]:
        return await queue.start_sends(connection, self._engine, batch)

    async def rescue(self) -> None:
        """Free what engines that stopped answering have held, and forget accounts that nothing waits for."""
        async with self._pool.connection() as connection:
            freed = await queue.rescue_sends(connection)
            if absent := self._holds.unconfigured:
                waited_for = await queue.routes_waited_for(connection, absent)
                for route in set(absent) - waited_for:
                    self._holds.forget(route)
                    log.info("channel.forgotten", channel=route)
        if freed:
            log.warning("sends.rescued", sends=[row["id"] for row in freed])
            self.wake()

    async def drain(self, seconds: float) -> None:
        """Claim no more, let running sends end, and queue again what was not started."""
        self._stopping = True
        self._snapshot.state = "stopping"
        self._wake.set()
        if left := await self._sends.wind_down(seconds):
            async with self._pool.connection() as connection:
                await queue.release_sends(connection, engine=self._engine, sends=left)
