"""What runs in a process of the crash tests: one engine with short leases, made to fail where it is told to."""

from __future__ import annotations

import asyncio
import ctypes
import os
import pickle
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.database.handle import Database
from engine.logs import configure_logging
from engine.outbound import dispatcher
from engine.settings import Settings, load_settings
from engine.supervisor import Engine, new_event_loop
from tests.faults.failpoints import arm
from tests.faults.mutations import Edit, edit_statements

DRAIN_SECONDS = 3.0
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Orders:
    """What an engine process is told; it can be pickled."""

    dsn: str
    settings: dict[str, Any]
    log: Path
    send_lease_margin: float = 1.5
    """Seconds by which a send's lease outlives its timeout; the engine's own is 30."""
    edits: tuple[Edit, ...] = ()
    failpoint: str | None = None
    """Where it dies; see `failpoints`."""
    before: tuple[Callable[[], None], ...] = field(default=())
    """Called before the engine is built; module-level functions."""


def run(orders: Orders) -> None:
    """Run an engine until SIGTERM, in a process of its own."""
    _log_to(orders.log)
    _die_with_parent()
    settings = load_settings(**orders.settings)
    configure_logging(settings)
    dispatcher.LEASE_MARGIN_SECONDS = orders.send_lease_margin
    edit_statements(orders.edits)
    for prepare in orders.before:
        prepare()
    if orders.failpoint:
        arm(orders.failpoint)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(orders, settings))


async def _serve(orders: Orders, settings: Settings) -> None:
    engine = Engine(
        settings, Database(orders.dsn, "faults", None), simulated=True, drain_seconds=DRAIN_SECONDS
    )
    running = asyncio.create_task(engine.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, engine._stop.set)
    await running


def _log_to(path: Path) -> None:
    """One file for all engines of a run: what they say is looked at only when something is wrong."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _die_with_parent() -> None:
    """Whatever ends the tests, no engine is left behind, not even a frozen one."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent == 1:  # it was too quick for us
        os._exit(1)


if __name__ == "__main__":  # with a pickled `Orders` as its input
    run(pickle.load(sys.stdin.buffer))
