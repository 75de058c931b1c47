"""psycopg: connections, named statements, LISTEN, and lanes that carry whatever has piled up.

Hot statements are files in `sql/queries/`, one each, with $1-style parameters; they are prepared on first use.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

import psycopg
import pydantic_core
from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool

from engine.logs import get_logger
from engine.model import SwitchboardError

log = get_logger(__name__)
SQL_DIR = Path(__file__).resolve().parents[2] / "sql"
CONNECT_SECONDS = 5
Row = DictRow
Connection = AsyncConnection[Row]
set_json_loads(pydantic_core.from_json)  # several times as fast as json.loads
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class DatabaseError(SwitchboardError):
    """The database cannot be used; the remedy says what to do."""


class Pool(AsyncConnectionPool[Connection]):
    """Connections to one database, and whether it had no room to write."""

    no_room: str | None = None
    """What PostgreSQL said when its disk was full; kept until `schema_checks.check_room` finds room."""

    @asynccontextmanager
    async def connection(self, timeout: float | None = None) -> AsyncIterator[Connection]:
        try:
            async with super().connection(timeout) as connection:
                yield connection
        except psycopg.errors.DiskFull as error:
            self.no_room = error.diag.message_primary or str(error)
            raise


@cache
def statement(name: str) -> bytes:
    """The SQL of `sql/queries/<name>.sql`, without its comment lines."""
    lines = (SQL_DIR / "queries" / f"{name}.sql").read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("--")).encode()


async def fetch(connection: Connection, name: str, *params: Any, binary: bool = False) -> list[Row]:
    """Run a named statement, prepared, and return its rows; in binary form, cheaper for wide rows of plain types."""
    async with AsyncRawCursor(connection, row_factory=dict_row) as cursor:
        await cursor.execute(statement(name), params, prepare=True, binary=binary)
        return await cursor.fetchall() if cursor.description else []


def conninfo(dsn: str, application: str, *, by_index: bool = False) -> str:
    """`dsn` with the session settings every connection of ours has.

    `by_index` for statements that take a few rows by index: plans made while tables are small, or before their
    statistics are known, scan them, and prepared statements keep such plans as the tables grow.
    """
    given = conninfo_to_dict(dsn)
    options = [
        str(given.get("options") or ""),
        "-c TimeZone=UTC",
        "-c idle_in_transaction_session_timeout=30000",
        "-c statement_timeout=30000",
        "-c jit=off",  # our statements are short
        "-c enable_seqscan=off -c enable_mergejoin=off" if by_index else "",
    ]
    return make_conninfo(
        dsn,
        application_name=application[:63],
        connect_timeout=int(given.get("connect_timeout") or CONNECT_SECONDS),
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=20_000,
        options=" ".join(option for option in options if option),
    )


async def connect(dsn: str, application: str = "switchboard") -> Connection:
    """One autocommit connection. Raises DatabaseError with a remedy when there is none to be had."""
    try:
        return await AsyncConnection.connect(
            conninfo(dsn, application), autocommit=True, row_factory=dict_row
        )
    except psycopg.Error as error:
        raise explain_connect_error(error, dsn) from None


def open_pool(dsn: str, *, size: int, application: str = "switchboard", by_index: bool = False) -> Pool:
    """A pool that is not open yet; a broken connection is replaced before it is handed out."""
    return Pool(
        conninfo(dsn, application, by_index=by_index),
        connection_class=AsyncConnection[Row],
        kwargs={"autocommit": True, "row_factory": dict_row},
        min_size=1,
        max_size=size,
        open=False,
        timeout=10,
        max_idle=60,
        reconnect_timeout=5,
    )


def where(dsn: str) -> str:
    """Where a database is, in words that hold no password."""
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.Error:
        return "DATABASE_URL"
    host, port = parts.get("host") or "localhost", parts.get("port") or 5432
    name = parts.get("dbname") or parts.get("user") or ""
    return f"{name} at {host}" if str(host).startswith("/") else f"{name} at {host}:{port}"


def explain_connect_error(error: psycopg.Error, dsn: str) -> DatabaseError:
    """What a failed connection means, and its remedy. The message never holds the password."""
    said = _reason(str(error)) or type(error).__name__
    password = urlsplit(dsn).password if "://" in dsn else None
    if password:
        said = said.replace(password, "***")
    place = where(dsn)
    if "password authentication failed" in said or "no password supplied" in said:
        return DatabaseError(
            f"PostgreSQL refused the login to {place}.", "Correct user and password in DATABASE_URL."
        )
    if "does not exist" in said and "database" in said:
        name = conninfo_to_dict(dsn).get("dbname")
        return DatabaseError(
            f"PostgreSQL has no database {name}.", f"Create it (createdb {name}) or correct DATABASE_URL."
        )
    if "role" in said and "does not exist" in said:
        return DatabaseError(
            f"PostgreSQL does not know the user of DATABASE_URL ({place}).",
            "Create the role or correct the URL.",
        )
    if "no pg_hba.conf entry" in said:
        return DatabaseError(
            f"PostgreSQL does not let this machine in ({place}).",
            "Allow it in pg_hba.conf, or add ?sslmode=require.",
        )
    return DatabaseError(
        f"PostgreSQL cannot be reached: {place} ({said}).",
        "Start it, or correct DATABASE_URL; without DATABASE_URL the embedded PostgreSQL is used.",
    )


def _reason(said: str) -> str:
    """The telling end of libpq's message, whose lines repeat where it tried and end in a guess."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if "failed:" in line or "FATAL:" in line] or lines
    return telling[-1].rpartition("failed:")[2].strip() if telling else ""


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Connection]:
    """A connection in a transaction, which commits when the block ends and rolls back when it raises."""
    async with pool.connection() as connection, connection.transaction():
        yield connection


class Lane(Generic[Item, Answer]):
    """One statement at a time, each carrying every item that has piled up meanwhile ("natural batching").

    A lone item goes out at once; under load, batches grow by themselves. `run` gets a connection and the
    batch and returns an answer for each item, or None for one that is to be tried again shortly. When a batch
    fails, its items are tried one by one, so that a bad one fails alone.
    """

    AGAIN_SECONDS = 0.05

    def __init__(
        self,
        name: str,
        pool: Pool,
        run: Callable[[Connection, Sequence[Item]], Awaitable[Sequence[Answer | None]]],
        *,
        batch: int = 100,
    ) -> None:
        self._name, self._pool, self._run, self._batch = name, pool, run, batch
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    async def submit(self, item: Item) -> Answer:
        """Hand an item over and wait for its answer. Raises what the database raised for this item."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._wake.set()
        return await future

    async def serve(self) -> None:
        """Carry items until cancelled. A lost connection is replaced; items wait for it."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._gather()
                batch, self._waiting = self._waiting[: self._batch], self._waiting[self._batch :]
                await self._carry([entry for entry in batch if not entry[1].done()])

    async def _gather(self) -> None:
        """Wait for as long as each round of the loop brings another item, and the batch has room for it."""
        seen = 0
        while seen < len(self._waiting) < self._batch:
            seen = len(self._waiting)
            await asyncio.sleep(0)

    async def _carry(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        if not batch:
            return
        try:
            answers = await self._answers([item for item, _ in batch])
        except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
            log.warning("lane.retry", lane=self._name, items=len(batch), error=str(error))
            self._waiting[:0] = batch
            await asyncio.sleep(0.5)
        except Exception as error:
            await self._carry_singly(batch, error)
        except asyncio.CancelledError:
            self._waiting[:0] = batch
            raise
        else:
            self._settle(batch, answers)

    async def _answers(self, items: Sequence[Item]) -> Sequence[Answer | None]:
        """What `run` says. A connection that breaks after that is no failure: it is written."""
        answers: Sequence[Answer | None] | None = None
        try:
            async with self._pool.connection() as connection:
                answers = await self._run(connection, items)
        except Exception:
            if answers is None:
                raise
        assert answers is not None
        return answers

    async def _carry_singly(self, batch: list[tuple[Item, asyncio.Future[Answer]]], error: Exception) -> None:
        if len(batch) > 1:
            for entry in batch:
                await self._carry([entry])
        elif not batch[0][1].done():
            batch[0][1].set_exception(error)

    def _settle(
        self, batch: list[tuple[Item, asyncio.Future[Answer]]], answers: Sequence[Answer | None]
    ) -> None:
        again = []
        for entry, answer in zip(batch, answers, strict=True):
            if answer is None:
                again.append(entry)
            elif not entry[1].done():
                entry[1].set_result(answer)
        if again:
            asyncio.get_running_loop().call_later(self.AGAIN_SECONDS, self._requeue, again)

    def _requeue(self, entries: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        self._waiting.extend(entries)
        self._wake.set()


async def notices(connection: Connection) -> list[psycopg.Notify]:
    """Wait for notifications; returns all that came together.

    It sleeps until the socket has something to read: psycopg's own wait wakes ten times a second.
    """
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(connection.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection.fileno())
    return [notice async for notice in connection.notifies(timeout=0)]


class Listener:
    """LISTEN on a connection of its own; reconnects by itself. Callbacks get the payload.

    After every (re)connection `on_gap` is called, since notifications may have been missed.
    """

    def __init__(
        self, dsn: str, callbacks: dict[str, Callable[[str], None]], on_gap: Callable[[], None]
    ) -> None:
        self._dsn, self._callbacks, self._on_gap = dsn, callbacks, on_gap
        self.listening = False

    async def serve(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                async with await connect(self._dsn, "switchboard listen") as connection:
                    for channel in self._callbacks:
                        await connection.execute(f"LISTEN {channel}".encode())
                    self.listening = True
                    self._on_gap()
                    while True:
                        for notice in await notices(connection):
                            self._callbacks[notice.channel](notice.payload)
            except (DatabaseError, psycopg.Error, OSError) as error:
                if self.listening:
                    log.warning("listen.lost", error=str(error))
            finally:
                self.listening = False
            await asyncio.sleep(1.0)


def to_json(value: Any) -> str:
    """JSON for a jsonb parameter: datetimes and decimals as text, what is no number as null, models as objects."""
    return pydantic_core.to_json(value, inf_nan_mode="null", fallback=str).decode()
