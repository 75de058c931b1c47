"""Who acts, and the record of it.

Every act of a person is one commit, with its row in `et_audit_log` in the same transaction; a read-only
operator's acts are all refused.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg

from engine.database.connection import Connection, Pool, Row, to_json, transaction
from engine.model import SwitchboardError
from engine.text import clean_for_storage, clean_json, one_line

NAME_LIMIT = 100
"""Characters of an operator's name or origin."""


class Refused(SwitchboardError):
    """An act that was not done; nothing has changed."""


class ReadOnly(Refused):
    """The operator may look, not act."""


class NotFound(Refused):
    """What was to be acted on does not exist."""


class BadInput(Refused):
    """A value that cannot be used."""


class Busy(Refused):
    """Others were at the same rows; trying again helps."""


class Uncertain(SwitchboardError):
    """The database went away during an act: whether it was done must be looked up."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts, and from where."""

    name: str
    origin: str
    """The host and, over SSH, the client's address."""
    read_only: bool = False

    @classmethod
    def current(cls, *, name: str | None = None, read_only: bool = False) -> Operator:
        """The person at this terminal: `name`, or else the user the system knows."""
        return cls(one_line(name or _system_user(), NAME_LIMIT), _origin(), read_only)

    def may_act(self) -> None:
        """Raises ReadOnly when this operator may not."""
        if self.read_only:
            raise ReadOnly(
                "This session is read-only, so nothing was changed.", "Start it again without --read-only."
            )


def automatic(name: str) -> Operator:
    """Stands in the audit log for what acts where no person sits at a terminal: `timer`, `phone`."""
    return Operator(name, _origin())


@asynccontextmanager
async def acting(pool: Pool, operator: Operator) -> AsyncIterator[Connection]:
    """The transaction of one act. Raises ReadOnly before it begins; what the database refuses, as Refused."""
    operator.may_act()
    try:
        async with transaction(pool) as connection:
            yield connection
    except psycopg.Error as error:
        raise _explained(error) from error


async def audit(
    connection: Connection,
    operator: Operator,
    act: str,
    subject: str,
    before: Any = None,
    after: Any = None,
    note: str | None = None,
) -> int:
    """Record an act in the transaction of its effect; returns the row's id. Raises ReadOnly.

    `act` is a short stable name, e.g. `takeover`; `subject` what it was done to, e.g. `thread:12`; `before`
    and `after` are what changed, as JSON.
    """
    operator.may_act()
    added = await rows(
        connection,
        """INSERT INTO et_audit_log (actor, origin, act, subject, before, after, note)
           VALUES (%s, %s, %s, %s, %s::jsonb, %s::jsonb, %s) RETURNING id""",
        operator.name,
        operator.origin,
        act,
        subject,
        _json(before),
        _json(after),
        clean_for_storage(note) if note else None,
    )
    return int(added[0]["id"])


async def rows(connection: Connection, sql: LiteralString, *params: Any) -> list[Row]:
    """The rows of a short statement with %s parameters; long ones are files, for `fetch`."""
    cursor = await connection.execute(sql, params)
    return await cursor.fetchall() if cursor.description else []


async def one(connection: Connection, what: str, sql: LiteralString, *params: Any) -> Row:
    """The first row of a short statement. Raises NotFound, which names `what` was looked for."""
    found = await rows(connection, sql, *params)
    if not found:
        raise NotFound(f"{what} does not exist.", "Look it up again; it may have another number.")
    return found[0]


def storable_text(text: str, what: str, limit: int) -> str:
    """`text` stripped and storable. Raises BadInput when nothing readable is left, or more than `limit`."""
    cleaned = clean_for_storage(text).strip()
    if not one_line(cleaned, limit=100).strip():
        raise BadInput(f"{what} is empty.", "Write something.")
    if len(cleaned) > limit:
        raise BadInput(f"{what} has {len(cleaned)} characters.", f"Keep it within {limit}.")
    return cleaned


def _json(value: Any) -> str | None:
    return None if value is None else to_json(clean_json(value))


def _explained(error: psycopg.Error) -> SwitchboardError:
    said = one_line(error.diag.message_primary or str(error), 300)
    if isinstance(error, psycopg.errors.UndefinedColumn | psycopg.errors.UndefinedTable):
        return Refused(f"The database schema lacks something: {said}.", "Run: switchboard migrate")
    if isinstance(error, psycopg.errors.DeadlockDetected | psycopg.errors.LockNotAvailable):
        return Busy(f"Others were changing the same rows: {said}.", "Try again.")
    if isinstance(error, psycopg.errors.IntegrityError):
        return Refused(
            f"The database refuses it: {said}.", "Look at the record again and choose another act."
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return Uncertain(f"The database broke off: {said}.", "Look whether the act was done, then try again.")
    return Refused(
        f"The database refuses it: {said}.", "Look at the record again, and report it if it persists."
    )


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # no environment and no passwd entry, as in some containers
        return f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"


def _origin() -> str:
    host = socket.gethostname()
    client = os.environ.get("SSH_CONNECTION", "").split(" ")[0]
    return one_line(f"{host} from {client}" if client else host, NAME_LIMIT)
