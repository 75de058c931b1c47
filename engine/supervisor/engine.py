"""The engine: starts, watches, restarts and drains every task below.

    async:     await Engine(settings, database).run()
    embedded:  engine.start(); engine.wait_ready(10); …; engine.stop()     (a thread and a loop of its own)

Nothing is claimed while there is a blocker; the engine stays up, says why, and goes on when it is cleared.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import psycopg
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from engine import __version__
from engine.channel_watch import ChannelWatch
from engine.channels.base import Channel, Parsed, PollingChannel, ReceiptStatus
from engine.channels.registry import ChannelRegistry, build_channels
from engine.database import search_index
from engine.database.connection import (
    DatabaseError,
    Listener,
    explain_connect_error,
    fetch,
    open_pool,
    to_json,
)
from engine.database.directory import Directory, load_directory
from engine.database.handle import Database
from engine.database.migrations import MigrationRun, migrate
from engine.database.schema_checks import check_pool, check_room
from engine.inbound.resolver import Resolver
from engine.inbound.worker import InboundWorker
from engine.llm.router import Router, build_router
from engine.llm.routing import RoutingError
from engine.logs import get_logger
from engine.model import Blocker, EngineSnapshot
from engine.operator.audit import automatic
from engine.operator.retention import retain
from engine.operator.takeover import release_due
from engine.outbound.dispatcher import OutboundDispatcher
from engine.outbound.receipts import apply_pending_receipts
from engine.polling import Poller
from engine.runtime.agent_runtime import ConversationAgentRuntime
from engine.settings import Settings
from engine.supervisor.alerts import AlertWatch
from engine.supervisor.balances import LOOK_SECONDS, BalanceWatch
from engine.supervisor.collector import settle_collector

log = get_logger(__name__)
HEARTBEAT_SECONDS = 3.0
SCHEMA_WATCH_SECONDS = 2.0
PROBE_SECONDS = 15.0
ALERT_SECONDS = 10.0
TELL_SECONDS = 5.0
RETENTION_SECONDS = 3600.0
DIRECTORY_SECONDS = 30.0
MERGE_SECONDS = 10.0
SWEEP_SECONDS = 30.0
RECEIPTS_SECONDS = 5.0
RELEASE_SECONDS = 5.0
RESTART_SECONDS = 1.0
DRAIN_SECONDS = 20.0
POOL_SIZE = 8
FILES_WANTED = 16_384
NEWS = timedelta(hours=1)
"""A far end redelivers for days; what is older says nothing about now."""


class Engine:
    """One engine on one database."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        simulated: bool = False,
        router: Router | None = None,
        channels: ChannelRegistry | None = None,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        """`router` and `channels` replace those the settings describe. `simulated` marks all it does."""
        self.settings = settings
        self.database = database
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:4]}"
        self.migration: MigrationRun | None = None
        """The start-up run, once it is through."""
        self._simulated = simulated
        self._router = router or build_router(settings)
        self._channels = channels or build_channels(settings)
        self._drain_seconds = drain_seconds
        self._directory = Directory()
        self._loading = asyncio.Lock()
        self._started_at = datetime.now(UTC)
        self._http_address: str | None = None
        self._schema_blockers: list[Blocker] = [_STARTING]
        self._routing_warning: Blocker | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._side_tasks: set[asyncio.Task[None]] = set()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._pool = open_pool(
            database.dsn, size=POOL_SIZE, application=f"switchboard {self.name}", by_index=True
        )
        self._dispatcher = OutboundDispatcher(
            self.name,
            self._pool,
            self._channels,
            settings,
            blocked=lambda: bool(self._schema_blockers),
            directory=lambda: self._directory,
        )
        self._watch = ChannelWatch(
            self._pool,
            self._channels,
            receipt_seconds=settings.receipt_seconds,
            on_checked=self._dispatcher.heard_health,
        )
        self._alerts = AlertWatch(self._pool, settings)
        self._balances = BalanceWatch(self._pool, self._router)
        self._merging = search_index.Merging(self._pool)
        self._worker = self._inbound_worker()
        self._pollers = [
            Poller(channel, self._pool, database.dsn, blocked=lambda: bool(self._schema_blockers))
            for channel in self._channels
            if channel.capabilities.polling and isinstance(channel, PollingChannel)
        ]
        self._listener = Listener(
            database.dsn,
            {
                "et_inbound": lambda _: self._worker.wake(),
                "et_outbound": lambda _: self._dispatcher.wake(),
                "et_settings": lambda _: self._spawn(self._load_directory),
            },
            on_gap=lambda: self._spawn(self._load_directory),
        )

    def _inbound_worker(self) -> InboundWorker:
        settings = self.settings
        runtime = ConversationAgentRuntime(
            self._router,
            deadline_seconds=settings.turn_deadline_seconds,
            history_tokens=settings.history_tokens,
            replies_per_hour=settings.thread_replies_per_hour,
        )
        resolver = Resolver(
            self._pool,
            lambda: self._directory,
            window_hours=self._window_hours,
            engine_cap_usd=settings.daily_budget_usd,
            turn_ceiling_usd=settings.turn_ceiling_usd,
        )
        return InboundWorker(
            self.name,
            self._pool,
            runtime,
            resolver,
            lambda: self._directory,
            settings,
            blocked=lambda: bool(self._schema_blockers) or self._nobody_answers(),
            simulated=self._simulated,
            on_queued=self._dispatcher.wake,
            outbox=self._dispatcher,
        )

    # Running

    async def run(self) -> None:
        """Run until `stop` is called or the task is cancelled. Raises SwitchboardError when it cannot start.

        A database that goes away once it has read its settings is waited for.
        """
        self._loop = asyncio.get_running_loop()
        _raise_file_limit()
        self.migration = await asyncio.to_thread(migrate, self.database.dsn)
        scheduler = AsyncIOScheduler(timezone=UTC)
        try:
            await self._open()
            self._begin()
            http = await self._serve_http()
            await self._watch_schema()
            self._schedule(scheduler)
            scheduler.start()
            await self._quietly(self._beat)
            log.info(
                "engine.started", engine=self.name, database=self.database.where, http=self._http_address
            )
            self._ready.set()
            await self._stop.wait()
        finally:
            if scheduler.running:
                scheduler.shutdown(wait=False)
            await asyncio.shield(self._shut_down())
            if self._http_address is not None:
                await http()

    async def _open(self) -> None:
        """Connect, and read the settings. Raises DatabaseError."""
        try:
            await self._pool.open(wait=True)
            await self._load_directory()
        except psycopg.OperationalError as error:
            raise explain_connect_error(error, self.database.dsn) from None

    def _begin(self) -> None:
        for name, serve in (
            ("listener", self._listener.serve),
            ("complete lane", self._worker.lane.serve),
            ("start lane", self._dispatcher.start_lane.serve),
            ("record lane", self._dispatcher.record_lane.serve),
            ("inbound worker", self._worker.background_inbound_worker_loop),
            ("outbound dispatcher", self._dispatcher.serve),
            *(("poller", poller.serve) for poller in self._pollers),
        ):
            self._tasks.append(asyncio.create_task(self._supervise(name, serve), name=name))

    async def _supervise(self, name: str, serve: Callable[[], Awaitable[None]]) -> None:
        """Run a task for as long as the engine runs; one that raises is started again."""
        while not self._stop.is_set():
            try:
                await serve()
            except Exception:
                log.exception("task.restarted", task=name)
                await asyncio.sleep(RESTART_SECONDS)

    def _schedule(self, scheduler: AsyncIOScheduler) -> None:
        lease = self.settings.lease_seconds
        for upkeep, seconds in (
            (self._beat, HEARTBEAT_SECONDS),
            (self._watch_schema, SCHEMA_WATCH_SECONDS),
            (self._worker.heartbeat, lease / 3),
            (self._worker.rescue, min(10.0, lease / 4)),
            (self._dispatcher.rescue, min(10.0, lease / 4)),
            (self._worker.sweep, SWEEP_SECONDS),
            (self._receipts, RECEIPTS_SECONDS),
            (self._release_due, RELEASE_SECONDS),
            (self._load_directory, DIRECTORY_SECONDS),
            (self._router.probe, PROBE_SECONDS),
            (self._watch.probe, PROBE_SECONDS),
            (self._watch.watch_receipts, PROBE_SECONDS),
            (self._alerts.watch, ALERT_SECONDS),
            (self._alerts.deliver, TELL_SECONDS),
            (self._balances.look, LOOK_SECONDS),
            (self._merge_search, MERGE_SECONDS),
            (self._retain, RETENTION_SECONDS),
        ):
            scheduler.add_job(
                self._quietly,
                "interval",
                args=[upkeep],
                seconds=seconds,
                coalesce=True,
                max_instances=1,
                misfire_grace_time=None,
            )
        self._spawn(partial(search_index.make, self.database.dsn))
        self._spawn(self._warm)
        self._spawn(self._router.probe)
        self._spawn(self._balances.look)
        self._spawn(self._retain)  # an engine that runs for less than an hour a day lets go of things, too
        self._spawn(self._watch.probe)
        self._spawn(self._watch.watch_receipts)

    async def _merge_search(self) -> None:
        worker, dispatcher = self._worker.snapshot, self._dispatcher.snapshot
        settled = worker.replied + worker.takeovers + worker.errors
        await self._merging.look(settled, busy=worker.in_flight + dispatcher.in_flight > 0)

    async def _warm(self) -> None:
        try:
            await self._router.warm()
        finally:
            settle_collector()  # a price table that cannot be read is no reason to go on without a collector

    async def _quietly(self, upkeep: Callable[[], Awaitable[None]]) -> None:
        """Upkeep that fails is told in the log and tried again at its next time."""
        try:
            await upkeep()
        except (psycopg.Error, DatabaseError, OSError) as error:
            log.warning("upkeep.failed", upkeep=upkeep.__qualname__, error=str(error))
        except Exception:
            log.exception("upkeep.failed", upkeep=upkeep.__qualname__)

    def _spawn(self, work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(self._quietly(work))
        self._side_tasks.add(task)
        task.add_done_callback(self._side_tasks.discard)

    async def _shut_down(self) -> None:
        """Drain, give back what is held, close."""
        self._stop.set()
        try:
            await self._worker.drain(self._drain_seconds)
            await self._dispatcher.drain(min(self._drain_seconds, self.settings.send_timeout_seconds))
            async with self._pool.connection() as connection:
                await connection.execute(
                    "UPDATE et_engines SET stopped_at = now(), heartbeat_at = now() WHERE name = %s",
                    [self.name],
                )
        except (psycopg.Error, OSError) as error:
            log.warning("engine.unclean_stop", error=str(error))
        for task in [*self._tasks, *self._side_tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._router.aclose()
        await self._channels.aclose()
        await self._pool.close(timeout=2)
        log.info("engine.stopped", engine=self.name)

    async def _serve_http(self) -> Callable[[], Awaitable[None]]:
        if not self.settings.http_enabled:
            return _nothing
        # Slow to import, and engines without HTTP need none of it.
        from engine.http.api import admin_token, build_api, serve_http
        from engine.http.webhooks import build_webhooks

        app = build_api(self._pool, self.settings, self.snapshot, admin_token(self.settings))
        app.include_router(build_webhooks(self._pool, self._channels, on_news=self._heard))
        server = await serve_http(app, self.settings)
        self._http_address = server.address
        return server.stop

    # Upkeep

    async def _load_directory(self) -> None:
        # One after the other: what was read before a change must not come in after it.
        async with self._loading, self._pool.connection() as connection:
            self._directory = await load_directory(connection, self._directory)
        try:
            self._router.configure(self._directory.settings.llm_routing_config)
            self._routing_warning = None
        except RoutingError as error:
            if self._routing_warning is None:
                log.warning("routing.refused", error=str(error))
            self._routing_warning = Blocker(
                code="llm.routing",
                what=error.what,
                where="et_platform_settings.llm_routing_config",
                remedy=error.remedy,
            )
        self._wake_all()

    def _wake_all(self) -> None:
        self._worker.wake()
        self._dispatcher.wake()

    async def _watch_schema(self) -> None:
        """A schema that changes, or a disk that fills, stops a running engine within seconds, until it is mended."""
        try:
            found = (await check_pool(self._pool)).blockers
            full = await check_room(self._pool)
            found += [full] if full else []
        except (psycopg.Error, OSError) as error:
            self._schema_blockers = [_unreachable(error, self.database.where)]
            return
        before, self._schema_blockers = self._schema_blockers, found
        if before and not found:
            log.info("engine.unblocked")
            self._wake_all()
        elif found and before != found:
            log.error("engine.blocked", blockers=[blocker.what for blocker in found])

    async def _beat(self) -> None:
        snapshot = self.snapshot()
        async with self._pool.connection() as connection:
            await fetch(
                connection,
                "beat",
                self.name,
                snapshot.version,
                snapshot.host,
                snapshot.pid,
                snapshot.http_address,
                snapshot.simulated,
                self._started_at,
                to_json(snapshot.model_dump(mode="json")),
            )

    def _heard(self, channel: Channel, parsed: Parsed) -> None:
        """What a webhook says about the account itself, its messages being stored."""
        if parsed.session_state is not None:
            self._spawn(partial(self._watch.probe_now, channel.name))
        for receipt in parsed.receipts:
            if receipt.status is ReceiptStatus.SENT:  # the others may be of long ago
                self._dispatcher.heard_arrival(f"{channel.name}/{receipt.account}")
        for stop in parsed.stops:
            if stop.at is None or datetime.now(UTC) - stop.at < NEWS:
                self._dispatcher.heard_stop(stop.blocker)

    async def _release_due(self) -> None:
        """Hand threads back whose visible timer has run out."""
        await release_due(self._pool)

    async def _retain(self) -> None:
        """Let go of what is past its time."""
        gone = {kept.kind: kept.gone for kept in await retain(self._pool, automatic("timer"), self.settings)}
        if any(gone.values()):
            log.info("retention.done", **gone)

    async def _receipts(self) -> None:
        await apply_pending_receipts(self._pool)

    def _window_hours(self, channel: str) -> float | None:
        windowed = any(account.capabilities.window_24h for account in self._channels.accounts(channel))
        return 24.0 if windowed else None

    def _nobody_answers(self) -> bool:
        return any(found.fatal for found in self._router.blockers())

    # What it tells of itself

    def snapshot(self) -> EngineSnapshot:
        """What the engine is doing now. May be called from any thread."""
        llm_blockers = [found.blocker for found in self._router.blockers()]
        channel_blockers = [health.blocker for health in self._watch.health if health.blocker]
        channel_blockers += [poller.blocker for poller in self._pollers if poller.blocker]
        blockers = [*self._schema_blockers, *llm_blockers, *channel_blockers]
        known = {(blocker.code, blocker.where) for blocker in blockers}
        blockers += [b for b in self._dispatcher.blockers if (b.code, b.where) not in known]
        worker = self._worker.snapshot.model_copy(update={"listening": self._listener.listening})
        return EngineSnapshot(
            name=self.name,
            version=__version__,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=self._started_at,
            simulated=self._simulated,
            http_address=self._http_address,
            inbound_worker=worker,
            outbound_dispatcher=self._dispatcher.snapshot,
            llm=self._router.health(),
            channels=self._watch.health,
            blockers=blockers,
            warnings=[*self._watch.warnings, *([self._routing_warning] if self._routing_warning else [])],
        )

    # Embedded: a thread and a loop of its own

    def start(self) -> None:
        """Run in a thread of its own; see `wait_ready`."""
        self._thread = threading.Thread(target=self._run_in_thread, name="switchboard engine", daemon=True)
        self._thread.start()

    def _run_in_thread(self) -> None:
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(self.run())
        except BaseException as error:
            self._failure = error
            log.exception("engine.failed")
        finally:
            self._ready.set()

    def wait_ready(self, timeout: float) -> bool:
        """Whether it has started within `timeout` seconds. Raises what kept it from starting."""
        came = self._ready.wait(timeout)
        if self._failure is not None:
            raise self._failure
        return came

    def request_stop(self) -> None:
        """Begin to drain; to be called in the engine's own loop."""
        self._stop.set()

    def stop(self, timeout: float = DRAIN_SECONDS + 5) -> bool:
        """Drain and end the thread; whether it ended within `timeout` seconds."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()


_STARTING = Blocker(
    code="engine.starting", what="The engine is starting.", where="engine", remedy="Wait a few seconds."
)


def _unreachable(error: Exception, where: str) -> Blocker:
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return Blocker(
        code="database.unreachable",
        what=f"The database does not answer: {said}",
        where=where,
        remedy="Start PostgreSQL again; the engine reconnects by itself.",
    )


def _raise_file_limit() -> None:
    """A thousand calls in flight are a thousand sockets; the usual soft limit is just that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_WANTED if hard == resource.RLIM_INFINITY else min(FILES_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _nothing() -> None:
    return None


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed, else asyncio's."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
