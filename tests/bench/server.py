"""The PostgreSQL that is measured: a cluster of its own with default settings, and meters of what it uses."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.postgres import Server, system_binaries, system_server

TICK = os.sysconf("SC_CLK_TCK")


class Measured(Server):
    """A server that nobody else uses, with its CPU meter."""

    def __init__(self, admin_dsn: str) -> None:
        super().__init__(admin_dsn)
        with psycopg.connect(admin_dsn) as connection:
            row = connection.execute("SELECT pg_backend_pid(), version()").fetchone()
            assert row is not None
            self.version: str = row[1].split(" on ")[0]
            self._postmaster = int(_stat(row[0])[1])  # of a backend, while it lives

    def cpu_seconds(self) -> float:
        """CPU that the server has used: its postmaster, live backends, and those that have ended."""
        ticks = 0
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = _stat(int(entry.name))
            except OSError:
                continue
            if int(entry.name) == self._postmaster:
                ticks += sum(map(int, fields[11:15]))
            elif int(fields[1]) == self._postmaster:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / TICK


@contextmanager
def measured_server(dsn: str | None = None) -> Iterator[Measured]:
    """The server at `dsn`, else a cluster of the system's PostgreSQL, reached by TCP on loopback."""
    if dsn is not None:
        yield Measured(dsn)
        return
    if system_binaries() is None:
        raise SystemExit("No PostgreSQL is installed here: install one, or name a server with --dsn.")
    port = free_port()
    with system_server(fast=False, options=f"-h 127.0.0.1 -p {port}", address=f"127.0.0.1:{port}") as server:
        yield Measured(server.admin_dsn)


def free_port() -> int:
    """A TCP port on loopback that nobody uses just now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def process_cpu(pid: int) -> float:
    """CPU seconds of one process, without its children."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICK


def process_rss(pid: int) -> float:
    """Resident memory of one process in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"process {pid} has no memory")


def busy_seconds() -> float:
    """CPU seconds that this machine has worked, whoever for."""
    fields = list(map(int, Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]))
    return (sum(fields) - fields[3] - fields[4]) / TICK


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
