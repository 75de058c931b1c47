"""The crash harness: engines, far ends, customers and people, all at once, while everything is broken.

    with CrashablePostgres() as postgres:
        report = run(SHORT, postgres)
        print(table([report]))
        assert not report.violations

A run loads the engines until every injector has done its damage, lets them come to rest, and gives the
database, the journal and the customers' mail to `checks`. With a mutation it ends as soon as it is caught.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from engine.demo.answers import last_user_text
from engine.demo.channel_far_end import ChannelFarEnd
from engine.demo.far_end import FarEnd
from tests.faults import checks
from tests.faults.checks import Evidence
from tests.faults.child import Orders
from tests.faults.fleet import Fleet
from tests.faults.injectors import Injector, Weather, crash_postgres, terminate_backend
from tests.faults.journal import install
from tests.faults.mutations import Mutation
from tests.faults.traffic import People, Traffic, open_work, until_quiet
from tests.support.crashable import CrashablePostgres

REST_SECONDS = 60.0
LOOK_SECONDS = 0.5
"""Between two looks at the backlog and at what a mutation did."""
QUIET_WINDOWS = ((0.0, 0.0), (0.05, 0.3))


@dataclass(frozen=True)
class Plan:
    """What a run does. The `every`s are seconds between two injections of a kind."""

    name: str
    engines: int = 8
    lease_seconds: float = 2.0
    customers: int = 30
    per_second: float = 60.0
    kills: int = 0
    kill_every: float = 0.4
    freezes: int = 0
    freeze_every: float = 0.8
    frozen_at_once: int = 2
    terminations: int = 0
    terminate_every: float = 1.0
    crashes: int = 0
    crash_every: float = 8.0
    takeover_every: float = 0.7
    slowest_llm: float = 0.4
    most_seconds: float = 45.0
    """The load ends after this, whatever has been injected by then."""
    mutation: Mutation | None = None
    seed: int = 0


@dataclass
class Report:
    """What a run did, and what came of it."""

    plan: Plan
    injections: dict[str, int] = field(default_factory=dict)
    messages_in: int = 0
    replies_out: int = 0
    violations: dict[str, list[str]] = field(default_factory=dict)
    """By check; only those that found something."""
    unknown: int = 0
    unknown_delivered: int = 0
    reconciled: int = 0
    """Unknown outcomes settled by a receipt or a late answer."""
    gave_up: dict[str, int] = field(default_factory=dict)
    """Messages that ended as inbound_error, by their reason."""
    parked: int = 0
    rest_seconds: float | None = None
    """How long the engines took to come to rest; None: they did not."""
    seconds: float = 0.0

    @property
    def caught(self) -> bool:
        """The mutation of this run did the harm that its guard prevents, and it was seen."""
        return self.plan.mutation is not None and self.plan.mutation.harm in self.violations

    def count(self, check: Callable[[Evidence], list[str]]) -> int:
        """How many violations a check found."""
        return len(self.violations.get(check.__name__, ()))


class Run:
    """One run, on a database of its own."""

    def __init__(self, plan: Plan, postgres: CrashablePostgres) -> None:
        self.plan = plan
        self._postgres = postgres
        self._rng = random.Random(plan.seed)
        self._name = plan.name.replace(" ", "_")
        self._dsn = postgres.database(self._name)
        self._llm = FarEnd(reply=lambda messages: f"The answer to: {last_user_text(messages)}")
        self._people = People(self._dsn, self._fork(), every_seconds=plan.takeover_every)
        self._channel = ChannelFarEnd(receipts_to=self._people.receipt, delivered_after=0.3, rng=self._fork())
        self._weather = Weather(self._llm, self._channel, self._fork(), plan.slowest_llm)
        self._traffic = Traffic(self._dsn, self._fork(), customers=plan.customers, per_second=plan.per_second)
        self._fleet = Fleet(plan.engines, self._orders)
        self._injectors = self._build_injectors()

    def _fork(self) -> random.Random:
        return random.Random(self._rng.random())

    def _orders(self) -> Orders:
        settings = {
            "uniapi_base_url": self._llm.uniapi_url,
            "uniapi_api_key": "key-of-uniapi",
            "zai_base_url": self._llm.zai_url,
            "zai_api_key": "key-of-zai",
            "simulator_base_url": self._channel.base_url,
            "http_enabled": False,
            "poll_seconds": 0.5,
            "lease_seconds": self.plan.lease_seconds,
            "turn_deadline_seconds": 4.0,
            "send_timeout_seconds": self.plan.lease_seconds / 2,
            "retry_base_seconds": 0.1,
            "retry_cap_seconds": 0.5,
            "thread_replies_per_hour": 1_000_000,
            "log_level": "WARNING",
        }
        edits = self.plan.mutation.edits if self.plan.mutation else ()
        return Orders(self._dsn, settings, self._postgres.folder / f"{self._name}.log", edits=edits)

    def _build_injectors(self) -> list[Injector]:
        plan, fleet, rng = self.plan, self._fleet, self._fork()

        def freeze() -> bool:
            if fleet.frozen >= plan.frozen_at_once:
                return False
            return fleet.freeze(rng, plan.lease_seconds * rng.uniform(1.2, 1.8))

        return [
            Injector(name, act, times=times, every=every, seed=rng.random())
            for name, act, times, every in (
                ("kill -9", lambda: fleet.kill(rng), plan.kills, plan.kill_every),
                ("freezes past the lease", freeze, plan.freezes, plan.freeze_every),
                (
                    "terminated backends",
                    lambda: terminate_backend(self._dsn, rng),
                    plan.terminations,
                    plan.terminate_every,
                ),
                (
                    "PostgreSQL crashes",
                    lambda: crash_postgres(self._postgres, rng),
                    plan.crashes,
                    plan.crash_every,
                ),
            )
            if times
        ]

    def execute(self) -> Report:
        """Run it; whatever happens, nothing of it is left running."""
        began = time.monotonic()
        report = Report(self.plan)
        install(self._dsn)
        if self.plan.mutation:
            with psycopg.connect(self._dsn, autocommit=True) as connection:
                connection.execute(self.plan.mutation.sql.encode() or b"SELECT 1")
        try:
            with self._llm, self._channel:
                try:
                    self._load(report)
                    if not report.caught:
                        report.rest_seconds = until_quiet(self._dsn, REST_SECONDS)
                finally:
                    self._fleet.stop()
        finally:
            self._people.close()
        if not report.caught:
            self._judge(report, checks.AT_REST)
        self._count(report)
        self._postgres.drop(self._name)
        report.seconds = time.monotonic() - began
        return report

    def _load(self, report: Report) -> None:
        """Traffic and damage, until all damage is done, time is up, or a mutation is caught."""
        parts: list[Any] = [self._weather, self._people, self._traffic, *self._injectors]
        for part in (self._fleet, *parts):
            part.start()
        until = time.monotonic() + self.plan.most_seconds
        try:
            while time.monotonic() < until and not all(injector.over for injector in self._injectors):
                time.sleep(LOOK_SECONDS)
                self._traffic.backlog = open_work(self._dsn)
                self._change_settings()
                if self.plan.mutation and self._caught(self.plan.mutation, report):
                    break
        finally:
            for part in reversed(parts):
                part.stop()

    def _change_settings(self) -> None:
        """Bursts on and off: settings are live."""
        seconds, most = self._rng.choice(QUIET_WINDOWS)
        try:
            with psycopg.connect(self._dsn, autocommit=True) as connection:
                connection.execute(
                    "INSERT INTO et_platform_settings (key, value) VALUES ('quiet_window', %s)"
                    " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                    [Jsonb({"seconds": seconds, "max_seconds": most})],
                )
        except psycopg.OperationalError:
            pass

    def _caught(self, mutation: Mutation, report: Report) -> bool:
        """Whether the harm that the mutation allows has been done and seen."""
        try:
            self._judge(report, checks.AT_ANY_TIME)
        except psycopg.OperationalError:
            return False
        return mutation.harm in report.violations

    def _judge(self, report: Report, which: tuple[checks.Check, ...]) -> None:
        evidence = Evidence(self._dsn, self._channel.arrivals(), self._traffic.acknowledged)
        report.violations = {name: found for name, found in checks.verdict(evidence, which).items() if found}

    def _count(self, report: Report) -> None:
        evidence = Evidence(self._dsn, self._channel.arrivals())
        report.injections = {injector.name: injector.done for injector in self._injectors} | {
            "takeovers": self._people.takeovers,
            "duplicates": self._traffic.duplicates,
            "LLM faults": self._weather.llm_faults,
        }
        report.messages_in = len(self._traffic.acknowledged)
        received = self._channel.received()
        report.replies_out = len(received)
        unknown = evidence.query("SELECT message_id FROM et_outbound_queue WHERE outcome = 'unknown'")
        report.unknown = len(unknown)
        report.unknown_delivered = sum(row["message_id"] in received for row in unknown)
        report.reconciled = len(
            evidence.query("SELECT FROM journal WHERE what = 'send' AND before = 'failed' AND after = 'sent'")
        )
        rows = evidence.query(
            "SELECT delivery_status AS status, reason FROM et_messages WHERE direction = 'inbound'"
        )
        report.gave_up = dict(Counter(row["reason"] for row in rows if row["status"] == "inbound_error"))
        report.parked = sum(row["status"] == "inbound_human_takeover" for row in rows)


def run(plan: Plan, postgres: CrashablePostgres) -> Report:
    """Execute a plan on a server that may be crashed."""
    if plan.mutation:
        plan.mutation.check()
    return Run(plan, postgres).execute()


SHORT = Plan(
    "short",
    kills=60,
    kill_every=0.33,
    freezes=10,
    terminations=15,
    terminate_every=1.2,
    crashes=1,
)
LONG = Plan(
    "long",
    engines=10,
    kills=1000,
    kill_every=0.4,
    freezes=150,
    freeze_every=1.5,
    frozen_at_once=3,
    terminations=150,
    terminate_every=2.0,
    crashes=2,
    crash_every=100.0,
    per_second=80,
    customers=60,
    most_seconds=1800,
)


def gate(mutation: Mutation, seed: int = 0) -> Plan:
    """A run in which that mutation is likely to do harm: zombies with answers pending, or kills mid-send."""
    plan = Plan(
        mutation.name,
        engines=3,
        customers=20,
        lease_seconds=1.0,
        most_seconds=60,
        mutation=mutation,
        seed=seed,
    )
    if mutation.name == "send marker off":
        return replace(plan, kills=200, kill_every=0.3)
    return replace(
        plan, freezes=100, freeze_every=0.3, frozen_at_once=2, slowest_llm=1.2, takeover_every=1000.0
    )
