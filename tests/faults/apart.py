"""An engine in a process with an environment of its own, e.g. with another clock."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

from tests.faults.child import Orders
from tests.faults.fleet import EngineProcess

ROOT = Path(__file__).resolve().parents[2]


class _Popen:
    """A subprocess with the face of a `multiprocessing.Process`."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exitcode(self) -> int | None:
        return self._process.poll()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def join(self, timeout: float | None = None) -> None:
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return


def launch_apart(orders: Orders, **environment: str) -> EngineProcess:
    """Start an engine with these variables in its environment."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.child"],
        stdin=subprocess.PIPE,
        env={**os.environ, **environment},
        cwd=ROOT,
    )
    assert process.stdin is not None
    # The child reads it under its module's name; here it runs as __main__, so the class is the same one.
    with process.stdin as given:
        pickle.dump(orders, given)
    return EngineProcess(_Popen(process))
