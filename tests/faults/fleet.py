"""Engine processes that are killed, frozen and replaced, each known by its process id alone."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.faults.child import Orders, run

# Forked from a clean process that has imported the engine already: an engine is up in a fraction of a second.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.faults.child", "engine.operator.takeover"])
STOP_SECONDS = 10.0


@dataclass(eq=False)
class EngineProcess:
    """One engine."""

    process: Any
    started: float = field(default_factory=time.monotonic)
    frozen: bool = False
    spared_until: float = 0.0
    """A time before which nobody kills it: a zombie that woke shall show what it does."""

    @property
    def alive(self) -> bool:
        return bool(self.process.is_alive())

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)


def launch(orders: Orders) -> EngineProcess:
    """Start one engine."""
    process = _CONTEXT.Process(target=run, args=(orders,), daemon=True)
    process.start()
    return EngineProcess(process)


class Fleet:
    """A number of engines; those that die are replaced. Every method may be called from any thread."""

    def __init__(self, size: int, orders: Callable[[], Orders]) -> None:
        self._size = size
        self._orders = orders
        self._lock = threading.Lock()
        self._engines: list[EngineProcess] = []
        self._stopping = threading.Event()
        self._tender = threading.Thread(target=self._tend, name="fleet", daemon=True)
        self.died_by_themselves = 0
        """Engines that ended although nobody had killed them."""
        self._killed: set[EngineProcess] = set()

    def start(self) -> None:
        self._refill()
        self._tender.start()

    def kill(self, rng: random.Random) -> bool:
        """kill -9 an engine that is neither frozen nor spared; False when there is none."""
        with self._lock:
            engine = self._pick(rng)
            if engine is None:
                return False
            self._killed.add(engine)
            engine.signal(signal.SIGKILL)
            return True

    def freeze(self, rng: random.Random, seconds: float, spare_seconds: float = 1.0) -> bool:
        """Freeze an engine for that long, in a thread of its own; it is spared until a while after."""
        with self._lock:
            # A young one holds nothing yet.
            engine = self._pick(rng, least_age=1.0)
            if engine is None:
                return False
            engine.frozen = True
            engine.signal(signal.SIGSTOP)
        threading.Thread(target=self._thaw, args=(engine, seconds, spare_seconds), daemon=True).start()
        return True

    @property
    def frozen(self) -> int:
        """How many are frozen now."""
        with self._lock:
            return sum(engine.frozen for engine in self._engines)

    def stop(self) -> None:
        """Stop all in an orderly way, and by force what does not end."""
        self._stopping.set()
        if self._tender.is_alive():
            self._tender.join(STOP_SECONDS)
        with self._lock:
            engines = list(self._engines)
        for engine in engines:
            engine.signal(signal.SIGCONT)
            engine.signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for engine in engines:
            engine.process.join(max(0.0, deadline - time.monotonic()))
            if engine.alive:
                engine.signal(signal.SIGKILL)
                engine.process.join(STOP_SECONDS)

    def _pick(self, rng: random.Random, least_age: float = 0.0) -> EngineProcess | None:
        now = time.monotonic()
        fit = [
            engine
            for engine in self._engines
            if not engine.frozen
            and engine not in self._killed
            and engine.spared_until < now
            and now - engine.started >= least_age
        ]
        return rng.choice(fit) if fit else None

    def _thaw(self, engine: EngineProcess, seconds: float, spare_seconds: float) -> None:
        self._stopping.wait(seconds)
        with self._lock:
            engine.spared_until = time.monotonic() + spare_seconds
            engine.frozen = False
            engine.signal(signal.SIGCONT)

    def _tend(self) -> None:
        while not self._stopping.wait(0.05):
            self._refill()

    def _refill(self) -> None:
        with self._lock:
            for engine in [engine for engine in self._engines if not engine.alive]:
                self._engines.remove(engine)
                if engine in self._killed:
                    self._killed.remove(engine)
                else:
                    self.died_by_themselves += 1
            missing = self._size - len(self._engines)
        for _ in range(missing):
            engine = launch(self._orders())
            with self._lock:
                self._engines.append(engine)
