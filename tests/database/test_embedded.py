"""PostgreSQL in a wheel: it stops with its last holder, also after one was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from engine.database.connection import DatabaseError
from engine.database.embedded import EmbeddedPostgres

HOLDER = """
import sys, time
from pathlib import Path
from engine.database.embedded import EmbeddedPostgres
EmbeddedPostgres(Path(sys.argv[1])).start()
print("up", flush=True)
time.sleep(60)
"""


def answers(dsn: str) -> bool:
    try:
        psycopg.connect(dsn).close()
    except psycopg.OperationalError:
        return False
    return True


def test_it_stops_when_its_last_opener_lets_go(tmp_path: Path) -> None:
    first, second = EmbeddedPostgres(tmp_path), EmbeddedPostgres(tmp_path)
    dsn = first.start()
    assert second.start() == dsn
    second.stop()
    assert answers(dsn), "the first opener still holds it"
    first.stop()
    assert not answers(dsn)


def test_a_killed_holder_is_survived_and_forgotten(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"up\n"
        os.kill(killed.pid, signal.SIGKILL)
    postgres = EmbeddedPostgres(tmp_path)
    dsn = postgres.start()
    assert answers(dsn)
    postgres.stop()
    assert not answers(dsn), "nobody holds it any more"


def test_a_folder_that_cannot_be_written_is_said_so() -> None:
    with pytest.raises(DatabaseError, match="cannot be written"):
        EmbeddedPostgres(Path("/proc/nowhere")).start()
