"""What goes wrong, at random and until it has gone wrong often enough."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping

import psycopg

from engine.demo.channel_far_end import ChannelFarEnd, Conduct
from engine.demo.far_end import FarEnd
from tests.support.crashable import CrashablePostgres

#: How the channel's far end treats some sends. Those it takes without a readable answer end as unknown.
CHANNEL_MIX: Mapping[Conduct, float] = {
    Conduct.RESET: 0.01,
    Conduct.ERROR: 0.005,
    Conduct.TRUNCATED: 0.005,
    Conduct.HANG: 0.003,
    Conduct.NO_ID: 0.02,
    Conduct.REJECT: 0.01,
    Conduct.BUSY: 0.03,
    Conduct.RATE: 0.005,
}
LLM_FAULTS = ("503", "429", "reset", "truncated", "empty")


class Injector:
    """Does one kind of damage `times` times, about every `every` seconds, in a thread of its own."""

    def __init__(self, name: str, act: Callable[[], bool], *, times: int, every: float, seed: float) -> None:
        """`act` returns False when there was nothing to damage just now."""
        self._act = act
        self._times = times
        self._every = every
        self._rng = random.Random(seed)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.name = name
        self.done = 0

    @property
    def over(self) -> bool:
        """It has done what it was to do."""
        return self.done >= self._times

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self.over and not self._stopping.wait(self._rng.uniform(0.5, 1.5) * self._every):
            self.done += self._act()


def terminate_backend(dsn: str, rng: random.Random) -> bool:
    """pg_terminate_backend on a connection of an engine, the listening ones included."""
    try:
        with psycopg.connect(dsn, autocommit=True) as connection:
            pids = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name LIKE 'switchboard%' AND pid <> pg_backend_pid()"
            ).fetchall()
            if not pids:
                return False
            row = connection.execute("SELECT pg_terminate_backend(%s)", rng.choice(pids)).fetchone()
            return bool(row and row[0])
    except psycopg.OperationalError:
        return False


def crash_postgres(postgres: CrashablePostgres, rng: random.Random) -> bool:
    """The server dies at once and comes back some moments later."""
    postgres.crash()
    time.sleep(rng.uniform(0.2, 2.0))
    postgres.start()
    return True


class Weather:
    """Far ends whose answers take their time and sometimes fail."""

    def __init__(self, llm: FarEnd, channel: ChannelFarEnd, rng: random.Random, slowest_llm: float) -> None:
        self._llm, self._channel, self._rng, self._slowest = llm, channel, rng, slowest_llm
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="weather", daemon=True)
        self.llm_faults = 0

    def start(self) -> None:
        self._channel.mix(CHANNEL_MIX)
        self._channel.retry_after = 0.2
        self._thread.start()

    def stop(self) -> None:
        """From now on everybody answers well and at once."""
        self._stopping.set()
        self._thread.join(10)
        self._channel.mix({})
        self._channel.latency = 0.0
        for script in (self._llm.uniapi, self._llm.zai):
            script.latency_seconds = 0.01

    def _run(self) -> None:
        rng = self._rng
        while not self._stopping.wait(0.05):
            for script in (self._llm.uniapi, self._llm.zai):
                script.latency_seconds = rng.uniform(0.01, self._slowest)
            self._channel.latency = rng.uniform(0.0, 0.15)
            if rng.random() < 0.05:
                self._llm.uniapi.once(rng.choice(LLM_FAULTS))
                self.llm_faults += 1
