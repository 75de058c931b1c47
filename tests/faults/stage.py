"""A trip whose engines are processes that can be killed, frozen or made to fail at a known place."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.faults import checks
from tests.faults.checks import Evidence
from tests.faults.child import Orders
from tests.faults.fleet import EngineProcess, launch
from tests.faults.journal import install
from tests.support.trip import Trip, trip

LEASE_SECONDS = 1.0
PATIENCE = 30.0


class Stage:
    """One database with a journal, far ends, and engines in processes of their own."""

    def __init__(self, world: Trip, log: Path) -> None:
        self.world = world
        self._log = log
        self.engines: list[EngineProcess] = []
        """Ended with the stage."""

    def launch(
        self,
        failpoint: str | None = None,
        before: tuple[Callable[[], None], ...] = (),
        send_lease_margin: float = 1.5,
        dsn: str | None = None,
        **settings: Any,
    ) -> EngineProcess:
        """Start an engine, told to fail at a failpoint or prepared by module-level functions."""
        orders = self.orders(failpoint, before, send_lease_margin, dsn, settings)
        engine = launch(orders)
        self.engines.append(engine)
        return engine

    def orders(
        self,
        failpoint: str | None = None,
        before: tuple[Callable[[], None], ...] = (),
        send_lease_margin: float = 1.5,
        dsn: str | None = None,
        settings: dict[str, Any] | None = None,
    ) -> Orders:
        """What `launch` tells an engine."""
        world = self.world
        told = {
            "uniapi_base_url": world.llm.uniapi_url,
            "uniapi_api_key": "key-of-uniapi",
            "zai_base_url": world.llm.zai_url,
            "zai_api_key": "key-of-zai",
            "simulator_base_url": world.channel.base_url,
            "http_enabled": False,
            "poll_seconds": 0.3,
            "lease_seconds": LEASE_SECONDS,
            "turn_deadline_seconds": 5.0,
            "send_timeout_seconds": LEASE_SECONDS,
            "retry_base_seconds": 0.1,
            "thread_replies_per_hour": 1_000_000,
            "log_level": "WARNING",
            **(settings or {}),
        }
        return Orders(
            dsn or world.dsn,
            told,
            self._log,
            failpoint=failpoint,
            before=before,
            send_lease_margin=send_lease_margin,
        )

    def until(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """The condition's value once it is true."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.02)
        raise AssertionError(f"not within {seconds} s: {what}\n{self.log[-3000:]}")

    def until_dead(self, engine: EngineProcess) -> int:
        """The exit code of an engine that ends by itself."""
        self.until(lambda: not engine.alive, "the engine ends")
        return int(engine.process.exitcode)

    def until_frozen(self, engine: EngineProcess) -> None:
        stat = Path(f"/proc/{engine.process.pid}/stat")
        self.until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "the engine is frozen")

    def until_rest(self) -> None:
        """Until nothing is open any more."""
        open_ = """SELECT (SELECT count(*) FROM et_messages WHERE direction = 'inbound'
                              AND delivery_status IN ('received', 'inbound_processing'))
                        + (SELECT count(*) FROM et_outbound_queue
                            WHERE status IN ('queued', 'processing', 'retry_scheduled')) AS n"""
        self.until(lambda: not self.world.one(open_)["n"], "all is at rest")

    @property
    def log(self) -> str:
        """What the engines said."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def violations(self) -> dict[str, list[str]]:
        """What is wrong now that all is at rest; checks that found nothing are left out."""
        evidence = Evidence(self.world.dsn, self.world.channel.arrivals())
        return {name: found for name, found in checks.verdict(evidence).items() if found}

    def close(self) -> None:
        """End every engine."""
        for engine in self.engines:
            engine.signal(signal.SIGCONT)
            engine.signal(signal.SIGKILL)
            engine.process.join(10)


@contextmanager
def stage(dsn: str, tmp_path: Path) -> Iterator[Stage]:
    """A stage without any engine yet; no quiet window."""
    with trip(dsn, tmp_path) as world:
        install(dsn)
        whole = Stage(world, tmp_path / "engines.log")
        try:
            yield whole
        finally:
            whole.close()
