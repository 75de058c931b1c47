"""A console that is slow to leave its terminal, and the engine that is to survive it."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest

import console.leaving
from console.leaving import Exit


class HungApp:
    """Its loop takes what it is told, and never ends."""

    class _loop:
        @staticmethod
        def is_closed() -> bool:
            return False

        @staticmethod
        def call_soon_threadsafe(*told: Any) -> None:
            pass

    def exit(self, code: int) -> None:
        raise AssertionError("only the loop itself may")


class Engine:
    """What stands behind the console, which can be stopped."""

    def __init__(self) -> None:
        self.engine = self
        self.stopped = threading.Event()

    def stop(self) -> None:
        self.stopped.set()


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    monkeypatch.setattr(console.leaving, "LAST_SECONDS", 0.1)
    return codes


@pytest.mark.parametrize("survives", [True, False])
def test_only_an_engine_that_is_to_survive_outlives_a_screen_that_hangs(
    ended: list[int], survives: bool
) -> None:
    session = Engine()
    way_out = Exit(HungApp(), session, survive_hangup=survives)  # type: ignore[arg-type]
    way_out._on_signal(signal.SIGHUP, None)
    time.sleep(0.8)
    assert session.stopped.is_set() != survives
    assert ended == ([] if survives else [128 + signal.SIGHUP])
    if survives:
        way_out._on_signal(signal.SIGTERM, None)
        assert session.stopped.wait(5)
        time.sleep(0.8)
        assert ended == [128 + signal.SIGTERM]
