"""Messages, turns and operators' acts, out of the database: as JSON lines, or as a table for a spreadsheet.

Read by id a page at a time, so that memory stays flat and no transaction stays open however slowly the reader
of the file or pipe takes it. What is added while an export runs is not in it.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Literal

from psycopg import AsyncRawCursor, sql
from psycopg.rows import tuple_row
from psycopg.types.string import TextLoader
from pydantic import BaseModel, ConfigDict

from engine.database.connection import Connection, Pool, statement
from engine.model import InboundStatus, OutboundStatus, SwitchboardError, TurnOutcome
from engine.observe.search import MessageSearch
from engine.observe.views import matching_ids
from engine.text import csv_cell, safe_json

What = Literal["messages", "turns", "audit"]
Form = Literal["jsonl", "csv"]
PAGE = 200
"""Rows held in memory at once."""
SPAN = 50_000
"""Ids one statement looks at, so that a filter that matches little stays quick."""
MOST_FOUND = 1_000_000
"""Messages of a search, the newest ones."""
Progress = Callable[[int, int], None]
"""Told how many rows of how many are written."""

STATUSES: dict[What, frozenset[str]] = {
    "messages": frozenset({*InboundStatus, *OutboundStatus}),
    "turns": frozenset(TurnOutcome),
    "audit": frozenset(),
}
"""What `status` may be; of a turn it is the outcome, an act has none."""

_TABLES: dict[What, str] = {"messages": "et_messages", "turns": "et_turns", "audit": "et_audit_log"}
_JSON_TYPES = {114, 3802}  # json, jsonb


class ExportFilter(BaseModel):
    """Which rows; every condition given must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: datetime | None = None
    until: datetime | None = None
    """This moment is not among them."""
    channel: str | None = None
    status: str | None = None
    search: MessageSearch | None = None
    """Of messages only: what a person would type in the console."""


class Exported(BaseModel):
    """What an export wrote."""

    what: What
    rows: int
    file: Path | None = None


class _Page(BaseModel):
    """Rows in the order of their ids. JSON columns hold JSON text."""

    names: list[str]
    json_columns: list[bool]
    rows: list[tuple[Any, ...]]


async def export(
    pool: Pool,
    what: What,
    which: ExportFilter,
    form: Form,
    out: BinaryIO,
    progress: Progress = lambda done, of: None,
) -> int:
    """Write matching rows to `out`, in UTF-8; returns how many.

    A CSV begins with the columns' names, and no cell of it is a formula. JSON lines are lossless: what could
    drive a terminal is escaped. `progress` is told only of a search, whose number is known before. Raises
    SwitchboardError when `out` takes no more.
    """
    count = 0
    headed = form == "jsonl"
    found = None
    if what == "messages" and which.search is not None:
        found = sorted(await matching_ids(pool, which.search, MOST_FOUND, whole=True))
    pages = _pages(pool, what, which) if found is None else _pages_of(pool, which, found)
    async for page in pages:
        if not headed:
            _write(out, _table([tuple(page.names)]))
            headed = True
        _write(out, _json_lines(page) if form == "jsonl" else _table(page.rows))
        count += len(page.rows)
        if found is not None:
            progress(count, len(found))
    return count


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that only its owner can read. One that exists is refused; one that was not finished is removed."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SwitchboardError(f"{path} exists.", "Choose another name, or remove it first.") from None
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
    except OSError as error:
        path.unlink(missing_ok=True)
        raise _unwritable(path, error) from None
    except BaseException:
        path.unlink(missing_ok=True)
        raise


async def _pages(pool: Pool, what: What, which: ExportFilter) -> AsyncIterator[_Page]:
    """At least one page, for its columns, be it empty."""
    first, last = await _bounds(pool, what, 0)
    end, after, empty = last or 0, (first or 1) - 1, True
    while after < end or empty:
        upto = min(after + SPAN, end)
        async with pool.connection() as connection:
            page = await _page(connection, what, which, after, upto)
        if page.rows or empty:
            yield page
            empty = False
        if len(page.rows) == PAGE:
            after = page.rows[-1][0]
        else:
            following, _ = await _bounds(pool, what, upto)  # over a gap in one step
            after = end if following is None else following - 1


async def _pages_of(pool: Pool, which: ExportFilter, ids: Sequence[int]) -> AsyncIterator[_Page]:
    """These messages; at least one page, for its columns."""
    for first in range(0, max(1, len(ids)), PAGE):
        some = list(ids[first : first + PAGE])
        ends = (some[0] - 1, some[-1]) if some else (0, 0)
        async with pool.connection() as connection:
            page = await _page(connection, "messages", which, *ends, some)
        yield page


async def _bounds(pool: Pool, what: What, after: int) -> tuple[int | None, int | None]:
    """The lowest and the highest id above `after`."""
    query = sql.SQL("SELECT min(id) AS first, max(id) AS last FROM {} WHERE id > %s")
    async with pool.connection() as connection:
        cursor = await connection.execute(query.format(sql.Identifier(_TABLES[what])), [after])
        row = await cursor.fetchone()
    assert row is not None
    return row["first"], row["last"]


async def _page(
    connection: Connection,
    what: What,
    which: ExportFilter,
    after: int,
    upto: int,
    ids: list[int] | None = None,
) -> _Page:
    params: tuple[Any, ...] = (after, upto, which.since, which.until, which.channel, which.status, PAGE)
    if what == "messages":
        params += (ids,)
    async with AsyncRawCursor(connection, row_factory=tuple_row) as cursor:
        for name in ("json", "jsonb"):
            cursor.adapters.register_loader(name, TextLoader)
        await cursor.execute(statement(f"export_{what}"), params, prepare=True)
        columns = cursor.description or []
        return _Page(
            names=[column.name for column in columns],
            json_columns=[column.type_code in _JSON_TYPES for column in columns],
            rows=await cursor.fetchall(),
        )


def _json_lines(page: _Page) -> str:
    names = [json.dumps(name) for name in page.names]
    lines = []
    for row in page.rows:
        cells = zip(names, row, page.json_columns, strict=True)
        lines.append("{" + ",".join(f"{name}:{_json(value, raw)}" for name, value, raw in cells) + "}\n")
    return safe_json("".join(lines))


def _json(value: Any, raw: bool) -> str:
    """JSON of a column; `raw` is JSON already. Numbers keep all their places."""
    if value is None:
        return "null"
    if raw:
        return str(value)
    if isinstance(value, Decimal):
        return str(value) if value.is_finite() else "null"
    if isinstance(value, datetime):
        return json.dumps(value.isoformat())
    return json.dumps(value, default=str, ensure_ascii=False)


def _table(rows: list[tuple[Any, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([csv_cell(_plain(value)) for value in row] for row in rows)
    return text.getvalue()


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _write(out: BinaryIO, text: str) -> None:
    try:
        out.write(text.encode())
        out.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable(getattr(out, "name", "the output"), error) from None


def _unwritable(path: object, error: OSError) -> SwitchboardError:
    return SwitchboardError(
        f"{path} cannot be written: {error.strerror or error}.", "Make room, or choose another place."
    )
