"""The database of an installation, opened: the one in DATABASE_URL, or the embedded one.

Opening proves that it answers, so that everything after it may take a database for granted.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from engine.database.connection import conninfo, explain_connect_error, where
from engine.database.embedded import EmbeddedPostgres
from engine.settings import Settings


class Database:
    """A database that answered when it was opened. Leaving its `with` block lets go of it."""

    def __init__(self, dsn: str, place: str, embedded: EmbeddedPostgres | None) -> None:
        self.dsn = dsn
        """libpq URL or conninfo; holds the password."""
        self.where = place
        """For people; holds no password."""
        self._embedded = embedded

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Reach the database, starting the embedded one when `settings` name none.

        Takes up to 5 s for a host that does not answer. Raises DatabaseError with a remedy.
        """
        if settings.database_url is None:
            embedded = EmbeddedPostgres(settings.data_dir)
            dsn = embedded.start()
            return cls(dsn, f"embedded PostgreSQL in {settings.data_dir / 'postgres'}", embedded)
        dsn = settings.database_url.get_secret_value()
        try:
            psycopg.connect(conninfo(dsn, "switchboard"), autocommit=True).close()
        except psycopg.Error as error:
            raise explain_connect_error(error, dsn) from None
        return cls(dsn, where(dsn), None)

    @property
    def embedded(self) -> bool:
        """Whether the server is ours, and stops with the last process that uses it."""
        return self._embedded is not None

    @property
    def programs(self) -> Path | None:
        """The folder of the embedded server's pg_dump and pg_restore."""
        return None if self._embedded is None else self._embedded.binaries

    @property
    def data_dir(self) -> Path | None:
        """The folder that the embedded server's data are in."""
        return None if self._embedded is None else self._embedded.data_dir

    def close(self) -> None:
        """Let go of it. May be called twice."""
        if self._embedded is not None:
            self._embedded.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
