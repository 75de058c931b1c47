"""Fault 16: the disk under PostgreSQL is full, and has room again later."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.faults import checks
from tests.faults.checks import Evidence
from tests.faults.journal import install
from tests.faults.ready import LATEST_SECONDS, ready, seconds_until
from tests.support.crashable import CrashablePostgres
from tests.support.trip import trip

SECRET = "a-webhook-secret"
SIZE = "400m"
RECOVERY_SECONDS = 20.0


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk that is soon full; skipped where nothing can be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "switchboard-test", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class Provider:
    """Brings messages by webhook, and knows which of them were acknowledged."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}/webhooks/simulator"
        self.acknowledged: set[str] = set()
        self.refused: list[str] = []
        self._number = 0

    def bring(self, pid: str, text: str = "hello") -> int:
        """The status of the answer; 0 when there is none."""
        raw = json.dumps({"messages": [{"id": pid, "from": f"c{pid}", "text": text}]}).encode()
        signature = hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
        try:
            status = httpx.post(
                self._url, content=raw, headers={"X-Simulator-Signature": signature}, timeout=20
            ).status_code
        except httpx.HTTPError:
            status = 0
        if status == 200:
            self.acknowledged.add(pid)
        else:
            self.refused.append(pid)
        return status

    def new(self, text: str = "hello") -> int:
        self._number += 1
        return self.bring(f"p{self._number}", text)


def fill(folder: Path) -> Path:
    """Take all the room there is; the file to remove afterwards."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return ballast


def until_down(provider: Provider) -> list[int]:
    """Bring messages until some are refused in a row; what was answered."""
    answers: list[int] = []
    deadline = time.monotonic() + 60
    while answers[-3:].count(503) < 3:
        assert time.monotonic() < deadline, answers
        answers.append(provider.new("x" * 4000))
    return answers


def test_a_full_disk_refuses_and_recovers_by_itself(small: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "http_enabled": True,
        "http_port": 0,
        "simulator_webhook_secret": SECRET,
        "lease_seconds": 3.0,
    }
    with CrashablePostgres(small) as postgres:
        dsn = postgres.database("full")
        install(dsn)
        with trip(dsn, tmp_path, **settings) as world:
            engine = world.start()
            address = engine.snapshot().http_address
            assert address is not None
            provider = Provider(address)
            for _ in range(10):
                assert provider.new() == 200
            ballast = fill(small)
            assert 503 in until_down(provider)
            assert seconds_until(engine, False, LATEST_SECONDS) < LATEST_SECONDS
            assert [blocker.code for blocker in engine.snapshot().blockers] == ["database.disk_full"]
            time.sleep(5.0)
            assert not ready(engine), "it stays so while there is no room"
            ballast.unlink()
            seconds_until(engine, True, RECOVERY_SECONDS)
            for pid in list(provider.refused):
                assert provider.bring(pid) == 200
            world.connection = psycopg.connect(dsn, autocommit=True, row_factory=psycopg.rows.dict_row)
            world.until(
                lambda: (
                    not world.query(
                        "SELECT FROM et_messages WHERE direction = 'inbound' AND delivery_status <> ALL(%s)",
                        list(checks.DONE),
                    )
                ),
                "all have come to an end",
            )
            world.stop()
            found = checks.verdict(Evidence(dsn, world.channel.arrivals(), provider.acknowledged))
            assert {name: what for name, what in found.items() if what} == {}
