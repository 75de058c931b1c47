"""An embedded PostgreSQL that tests crash and start again, with its commits durable as in earnest."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from engine.database.embedded import EmbeddedPostgres
from engine.database.migrations import migrate

SETTINGS = {
    "fsync": "off",  # the machine does not crash here, only the server
    "synchronous_commit": "on",  # what is acknowledged survives a crash of the server
    "max_connections": "300",
    "deadlock_timeout": "200ms",
}


class CrashablePostgres:
    """A server of its own in a temporary folder, or in one that is given."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="switchboard-crash-"))
        self._embedded = EmbeddedPostgres(self.folder)
        self.admin_dsn = ""
        self._options = ""

    def __enter__(self) -> Self:
        self.admin_dsn = self._embedded.start()
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            for name, value in SETTINGS.items():
                connection.execute(
                    sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
                )
        self._options = self._start_options()
        self.crash("fast")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.crash("fast")
        self._embedded.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def database(self, name: str) -> str:
        """URL of a new, migrated database."""
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        dsn = make_conninfo(self.admin_dsn, dbname=name)
        assert migrate(dsn).ok
        return dsn

    def drop(self, name: str) -> None:
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def crash(self, mode: str = "immediate") -> None:
        """End the server at once, as a power cut ends its processes (or `fast`: in an orderly way)."""
        if self._running():
            self._pg_ctl("stop", "-m", mode)

    def start(self) -> None:
        """Start it again over what the crash left; back when it answers."""
        self._pg_ctl("start", "-l", str(self._data / "log"), "-o", self._options)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                psycopg.connect(self.admin_dsn).close()
            except psycopg.OperationalError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError("PostgreSQL did not come back")

    @property
    def _data(self) -> Path:
        return self.folder / "postgres"

    def _running(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    def _start_options(self) -> str:
        """Where the socket is: the server comes back under the same URL."""
        command = (self._data / "postmaster.opts").read_text().strip()
        return command.partition(" ")[2]

    def _pg_ctl(self, *arguments: str) -> None:
        owner = self._data.stat().st_uid
        subprocess.run(
            [str(self._embedded.binaries / "pg_ctl"), "-w", "-D", str(self._data), *arguments],
            check=True,
            user=owner if os.geteuid() == 0 else None,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            timeout=60,
        )
