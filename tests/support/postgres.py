"""Real PostgreSQL servers for tests: the embedded one, and the system's where it is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from engine.database.embedded import EmbeddedPostgres
from engine.database.migrations import migrate

FAST = ("fsync", "synchronous_commit", "full_page_writes")
MEMORY = Path("/dev/shm")
ENOUGH = 4 * 2**30
"""Bytes that must be free in `MEMORY` before a server is put there."""


class Server:
    """A running server in which tests make databases of their own."""

    def __init__(self, admin_dsn: str) -> None:
        self.admin_dsn = admin_dsn
        self._template: str | None = None
        self._strategy = ""

    def admin(self, statement: str, *names: str) -> None:
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def make_fast(self) -> None:
        """Trade crash safety of the whole machine for speed; a killed engine loses nothing by it."""
        for name in FAST:
            self.admin(f"ALTER SYSTEM SET {name} = off")
        self.admin("SELECT pg_reload_conf()")
        with psycopg.connect(self.admin_dsn) as connection:
            if (
                connection.info.server_version >= 150_000
            ):  # older ones know no other strategy, and not the word
                # Nothing waits for a disk: its checkpoints are cheaper than WAL.
                self._strategy = " STRATEGY FILE_COPY"

    def dsn(self, name: str) -> str:
        return make_conninfo(self.admin_dsn, dbname=name)

    def empty_database(self) -> str:
        return self.copy("template1")

    def migrated_database(self) -> str:
        """A copy of a database that start-up has migrated once."""
        if self._template is None:
            self._template = self.empty_database()
            assert migrate(self.dsn(self._template)).ok
        return self.copy(self._template)

    def copy(self, template: str) -> str:
        """A copy of a database that nobody is connected to."""
        name = f"t_{uuid4().hex[:12]}"
        self.admin(f"CREATE DATABASE {{}} TEMPLATE {{}}{self._strategy}", name, template)
        return name

    def drop_template(self) -> None:
        """Drop what `migrated_database` copies; on a server that outlives its tests."""
        if self._template is not None:
            self.drop(self._template)
            self._template = None

    def drop(self, name: str) -> None:
        self.admin("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def fast_folder(prefix: str) -> Path:
    """A new folder in memory where there is enough of it: a database's hundreds of files take a disk long."""
    with suppress(OSError):
        if shutil.disk_usage(MEMORY).free >= ENOUGH:
            return Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY))
    return Path(tempfile.mkdtemp(prefix=prefix))


@contextmanager
def embedded_server() -> Iterator[Server]:
    folder = fast_folder("switchboard-tests-")
    postgres = EmbeddedPostgres(folder)
    try:
        server = Server(postgres.start())
        server.make_fast()
        yield server
    finally:
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


def system_binaries() -> Path | None:
    """The newest installed PostgreSQL's programs, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return found[-1].parent if found else None


@contextmanager
def system_server(*, fast: bool = True, options: str = "", address: str | None = None) -> Iterator[Server]:
    """A cluster of the system's PostgreSQL, run as a plain user as it demands.

    Without `fast` it is as safe as PostgreSQL is by default. `options` are postgres' own; `address` is the
    host (and port) part of its URLs where they make it listen on one.
    """
    binaries = system_binaries()
    assert binaries is not None
    prefix = "switchboard-system-"
    folder = fast_folder(prefix) if fast else Path(tempfile.mkdtemp(prefix=prefix))
    data = folder / "data"
    user = None

    def run(*command: str, check: bool = True) -> None:
        subprocess.run(command, check=check, user=user, capture_output=True, timeout=60, cwd=folder)

    options = options or "-h ''"
    try:
        if os.geteuid() == 0:
            user = "postgres" if _known("postgres") else "nobody"
            shutil.chown(folder, user)
        run(str(binaries / "initdb"), "-A", "trust", "-U", "tester", "-D", str(data), "-E", "utf8")
        run(
            *(str(binaries / "pg_ctl"), "-w", "-D", str(data), "-l", str(folder / "log")),
            *("-o", f"{options} -k {folder}", "start"),
        )
        server = Server(
            f"postgresql://tester@{address or ''}/postgres" + ("" if address else f"?host={folder}")
        )
        if fast:
            server.make_fast()
        yield server
    finally:
        # A test may have ended it already.
        run(str(binaries / "pg_ctl"), "-w", "-m", "immediate", "-D", str(data), "stop", check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _known(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
