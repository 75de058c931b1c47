"""Archives of a database: pg_dump's custom format with a manifest of counts and checksums, in one tar.

`manifest.json` and `database.dump` show one and the same moment. The dump is readable by pg_restore without us.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow, tuple_row
from pydantic import BaseModel, ValidationError

from engine import __version__
from engine.database.connection import conninfo
from engine.model import SwitchboardError
from engine.text import one_line

MANIFEST, DUMP = "manifest.json", "database.dump"
MANIFEST_BYTES = 1_000_000
OURS = "Name a file that switchboard backup wrote."
Connection = psycopg.Connection[TupleRow]


class BadArchive(SwitchboardError):
    """A file that cannot be restored."""


class TableSum(BaseModel):
    """What a table holds: its rows, and a sum over the hashes of all of them, in whatever order."""

    rows: int
    checksum: str


class Manifest(BaseModel):
    """What a backup holds."""

    format: int = 1
    version: str
    """Of Switchboard."""
    server_version: str
    made_at: datetime
    dump_sha256: str
    tables: dict[str, TableSum]

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())


def sums(connection: Connection) -> dict[str, TableSum]:
    """Rows and checksum of every table of ours and of others in the schema, by name."""
    names = connection.execute(
        """SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind = 'r' AND n.nspname = current_schema() ORDER BY 1"""
    ).fetchall()
    found = {}
    for (name,) in names:
        row = connection.execute(
            sql.SQL(
                "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM {} t"
            ).format(sql.Identifier(name))
        ).fetchone()
        assert row is not None
        found[name] = TableSum(rows=row[0], checksum=str(row[1]))
    return found


def dump(dsn: str, programs: Path, to: Path) -> Manifest:
    """The dump and the sums of one snapshot."""
    with connect(dsn) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        snapshot = value(connection, "SELECT pg_export_snapshot()")
        tables = sums(connection)
        server = value(connection, "SELECT current_setting('server_version')")
        at = connection.execute("SELECT now()").fetchone()
        assert at is not None
        _run(
            [programs / "pg_dump", "--format=custom", "--no-owner", "--no-acl", f"--snapshot={snapshot}",
             f"--file={to}", f"--dbname={dsn}"]
        )  # fmt: skip
    return Manifest(
        version=__version__, server_version=server, made_at=at[0], dump_sha256=_digest(to), tables=tables
    )


def pack(folder: Path, file: Path) -> None:
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as out:
                with tarfile.open(fileobj=out, mode="w") as tar:
                    for name in (MANIFEST, DUMP):
                        tar.add(folder / name, name, filter=_anonymous)
                out.flush()
                os.fsync(out.fileno())
        except BaseException:
            file.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SwitchboardError(
            f"{file} cannot be written: {error.strerror or error}.", "Make room, or choose another place."
        ) from None


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member


def unpack(file: Path, folder: Path) -> Manifest:
    """The two parts into `folder`. Raises BadArchive for what is no backup, or a damaged one."""
    try:
        with tarfile.open(file, "r:") as tar:
            for name in (MANIFEST, DUMP):
                with tar.extractfile(name) or BytesIO() as member, (folder / name).open("wb") as out:
                    shutil.copyfileobj(member, out)
        with (folder / MANIFEST).open("rb") as text:
            manifest = Manifest.model_validate(json.loads(text.read(MANIFEST_BYTES)))
    except FileNotFoundError:
        raise BadArchive(f"{file} does not exist.", OURS) from None
    except (tarfile.TarError, KeyError, ValueError, ValidationError):
        raise BadArchive(
            f"{file} is no backup of Switchboard, or it is damaged.",
            OURS,
        ) from None
    except OSError as error:
        raise BadArchive(
            f"{file} cannot be read: {error.strerror or error}.", "See its permissions, and make room."
        ) from None
    if manifest.format != 1:
        raise BadArchive(
            f"{file} has format {manifest.format}.", "Restore it with the Switchboard that wrote it."
        )
    if _digest(folder / DUMP) != manifest.dump_sha256:
        raise BadArchive(f"{file} is damaged: its checksum is another one.", "Take another copy of it.")
    return manifest


def fill(dsn: str, programs: Path, archive: Path, manifest: Manifest) -> None:
    """Restore into an empty database, and compare. Raises SwitchboardError when they differ."""
    _run(
        [
            programs / "pg_restore",
            "--no-owner",
            "--no-acl",
            "--exit-on-error",
            "--jobs=2",
            f"--dbname={dsn}",
            archive,
        ]
    )
    with connect(dsn) as connection:
        there = sums(connection)
    differ = sorted(
        name for name in {*there, *manifest.tables} if there.get(name) != manifest.tables.get(name)
    )
    if differ:
        raise SwitchboardError(
            f"What was restored differs from the backup in: {', '.join(differ)}.",
            "The database in force is as it was. Make another backup, or report it.",
        )


@contextmanager
def workshop(where: Path) -> Iterator[Path]:
    """A folder that only we can read, on the file system of the result; gone afterwards."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".switchboard-backup-", dir=where))
    except OSError as error:
        raise SwitchboardError(
            f"{where} cannot be written: {error.strerror or error}.", "Choose another place, or make room."
        ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def scratch(dsn: str) -> Iterator[str]:
    """The URL of an empty database beside ours; gone afterwards, unless it was renamed."""
    name = f"switchboard_copy_{uuid4().hex[:12]}"
    with connect(beside(dsn)) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    try:
        yield make_conninfo(dsn, dbname=name)
    finally:
        with suppress(psycopg.Error), connect(beside(dsn)) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )


def connect(dsn: str) -> Connection:
    connection = psycopg.connect(conninfo(dsn, "switchboard backup"), autocommit=True, row_factory=tuple_row)
    connection.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0")
    return connection


def beside(dsn: str) -> str:
    return make_conninfo(dsn, dbname="template1")


def value(connection: Connection, query: LiteralString, *params: Any) -> Any:
    row = connection.execute(query, params).fetchone()
    assert row is not None
    return row[0]


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _run(command: list[str | Path]) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        said = one_line(done.stderr.strip().rpartition("\n")[2] or f"exit code {done.returncode}", 300)
        raise SwitchboardError(
            f"{Path(command[0]).name} failed: {said}.",
            "Make room if the disk is full; the database is as it was.",
        )
