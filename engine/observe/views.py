"""Messages as panes show them: pages of a list, trips under way, one message in full.

Every statement is flat in history size: keyset pages over bounded stretches of ids, never OFFSET, never a
count over history.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import psycopg

from engine.database import search_index
from engine.database.connection import Connection, Pool, fetch
from engine.observe import hits, message_sql
from engine.observe.search import MessageSearch, SearchError

PAGE = 200
LOOKS = 10
"""Stretches of ids that one page looks through at most, before it comes back with what it has."""
OVERLAP = 300
"""Ids below the newest one that are looked at again: a later id may have been committed first."""
TRIP_STRETCH = 5_000
RECENT_THREADS = 2_000
TOP = 2**63 - 1
SEARCH_SECONDS = 3.0
"""A look for words that takes longer is given up."""
SIMILAR = 0.5
"""How like a misspelt word another one must be, of 1."""
CHANNELS = ("simulator", "telegram", "whatsapp", "whatsapp_cloud", "waha", "evolution")


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message in a list. Texts are as stored: foreign, and cut."""

    id: int
    created_at: datetime
    direction: str
    status: str
    reason: str | None
    channel: str
    account: str
    tenant_id: int
    thread_id: int | None
    who: str
    """The customer's name, else address."""
    author: str
    text: str
    kind: str | None
    """Of what is not plain text: image, voice, …"""
    outcome: str | None
    """Of its send."""
    provider: str | None
    model: str | None
    tokens: int | None
    cost_usd: float | None
    attempts: int
    delivered_at: datetime | None
    read_at: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, the oldest first, and how far was looked."""

    rows: tuple[MessageRow, ...]
    reached: int
    """No matching message between this id and the rows is left out."""
    end: bool
    """Nothing more lies beyond."""


@dataclass(frozen=True, slots=True)
class Tail:
    """What a live list has to show next."""

    new: tuple[MessageRow, ...]
    renewed: tuple[MessageRow, ...]
    seen: int
    """The newest id there was."""
    gap: bool
    """More came than are told: read the list anew."""


@dataclass(frozen=True, slots=True)
class TripRow:
    """An inbound message on its way through the eight steps."""

    id: int
    thread_id: int | None
    tenant_id: int
    channel: str
    who: str
    text: str
    kind: str | None
    status: str
    reason: str | None
    attempts: int
    turn_head_id: int | None
    created_at: datetime
    claimed_at: datetime | None
    replied_at: datetime | None
    reply_id: int | None
    model: str | None
    send_status: str | None
    outcome: str | None
    send_attempts: int | None
    sent_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None


@dataclass(frozen=True)
class Stored:
    """One row of `et_messages` in full."""

    id: int
    who: str
    text: str | None
    """At most 20,000 characters."""
    bytes: int | None
    """Of the whole text."""
    row: dict[str, Any]
    """Every other column, by name; times as text."""
    thread: dict[str, Any] | None
    created_at: datetime
    claimed_at: datetime | None
    replied_at: datetime | None
    send_started_at: datetime | None
    sent_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None

    @property
    def direction(self) -> str:
        return str(self.row["direction"])

    @property
    def status(self) -> str:
        return str(self.row["delivery_status"])

    @property
    def thread_id(self) -> int | None:
        found: int | None = self.row["thread_id"]
        return found

    @property
    def trace(self) -> dict[str, Any] | None:
        """`raw_payload.ai_trace`, if there is one that can be read."""
        payload = self.row.get("raw_payload")
        trace = payload.get("ai_trace") if isinstance(payload, dict) else None
        return trace if isinstance(trace, dict) else None


@dataclass(frozen=True)
class MessageDetail:
    """A message with its whole trip: the inbound one, what answered it, and how that was sent."""

    chosen: int
    """The id that was asked for: of `inbound` or of `outbound`."""
    inbound: Stored | None
    outbound: Stored | None
    turns: tuple[dict[str, Any], ...]
    """Rows of `et_turns` for the inbound message, the oldest first, each with `agent_name`."""
    send: dict[str, Any] | None
    """The row of `et_outbound_queue`."""

    @property
    def message(self) -> Stored:
        """The one that was asked for."""
        found = self.inbound if self.inbound and self.inbound.id == self.chosen else self.outbound
        assert found is not None
        return found

    @property
    def turn(self) -> dict[str, Any] | None:
        """The turn that wrote the reply, else the latest one that was not a dry run."""
        live = [turn for turn in self.turns if turn["kind"] != "dry_run"]
        if self.outbound is not None:
            for turn in live:
                if turn["reply_message_id"] == self.outbound.id:
                    return turn
        return live[-1] if live else None


async def page_before(pool: Pool, search: MessageSearch, before: int = TOP, limit: int = PAGE) -> Page:
    """The matching messages just before an id, looking through a bounded number of stretches."""
    async with pool.connection() as connection:
        way = await _way(connection, search)
        _, stretched = message_sql.source(search, way)
        served = not stretched and message_sql.served(search, way) != "scan"
        params = message_sql.values(search)
        if before == TOP:
            before = await newest_message(connection) + 1
        ids: list[int] = []
        reached = before
        for look in range(LOOKS):
            indexed = served and look > 0
            stretch = message_sql.NEAR if served else message_sql.STRETCH
            floor = max(0, reached - stretch) if (stretched or served) and not indexed else 0
            wanted = limit - len(ids)
            statement = message_sql.older(search, way, indexed=indexed).encode()
            found = await _ids(connection, statement, params, before=reached, floor=floor, limit=wanted)
            ids += found
            reached = found[-1] if len(found) == wanted else floor
            if len(ids) == limit or reached <= 1:
                break
        rows = await _rows(connection, ids, search)
        return Page(rows, reached, end=reached <= 1 and len(ids) < limit)


async def page_after(pool: Pool, search: MessageSearch, after: int, limit: int = PAGE) -> Page:
    """The matching messages just after an id, up to the newest."""
    async with pool.connection() as connection:
        way = await _way(connection, search)
        _, stretched = message_sql.source(search, way)
        indexed = message_sql.served(search, way) != "scan"
        statement = message_sql.newer(search, way, indexed=indexed).encode()
        params = message_sql.values(search)
        newest = await newest_message(connection)
        ids: list[int] = []
        reached = after
        for _ in range(LOOKS):
            ceiling = min(newest, reached + message_sql.STRETCH) if stretched else newest
            wanted = limit - len(ids)
            found = await _ids(connection, statement, params, after=reached, ceiling=ceiling, limit=wanted)
            ids += found
            reached = found[-1] if len(found) == wanted else ceiling
            if len(ids) == limit or reached >= newest:
                break
        rows = await _rows(connection, ids, search)
        return Page(rows, reached, end=reached >= newest and len(ids) < limit)


async def tail(
    pool: Pool,
    search: MessageSearch,
    *,
    seen: int,
    known: frozenset[int] | None,
    renew: Sequence[int],
    limit: int = PAGE,
) -> Tail:
    """What came after `seen`, and the present state of the messages in `renew`.

    `known` are the ids held already of the last `OVERLAP` before `seen`, so that one which was committed late
    is found; None when it has been quiet for a while and none can be missing.
    """
    async with pool.connection() as connection:
        newest = await newest_message(connection)
        fresh: list[int] = []
        gap = newest - seen > message_sql.STRETCH
        if not gap and (newest > seen or known):
            way = await _way(connection, search)
            statement, params = message_sql.older(search, way).encode(), message_sql.values(search)
            floor = seen + 1 if not known else max(min(known), seen - OVERLAP)
            found = await _ids(
                connection, statement, params, before=newest + 1, floor=floor, limit=OVERLAP + limit
            )
            fresh = [i for i in found if i not in (known or ())]
            gap = len(fresh) > limit
        rows = await _rows(connection, [*fresh[:limit], *renew], search)
    new = frozenset(fresh)
    return Tail(
        tuple(row for row in rows if row.id in new),
        tuple(row for row in rows if row.id not in new),
        newest,
        gap,
    )


async def message_rows(pool: Pool, ids: Sequence[int]) -> tuple[MessageRow, ...]:
    """These messages, the oldest first."""
    async with pool.connection() as connection:
        return await _rows(connection, ids)


async def matching_ids(pool: Pool, search: MessageSearch, limit: int, *, whole: bool = False) -> list[int]:
    """The newest matching ids, looking through all there is; for acts on everything a list shows.

    With `whole` they are all of them, be there more of a status than a list looks at.
    """
    ids: list[int] = []
    async with pool.connection() as connection:
        way = await _way(connection, search)
        stretched = whole or message_sql.source(search, way)[1]
        indexed = message_sql.served(search, way) != "scan"
        older = message_sql.of_all(search, way) if whole else message_sql.older(search, way, indexed=indexed)
        statement, params = older.encode(), message_sql.values(search)
        reached = await newest_message(connection) + 1
        while reached > 1 and len(ids) < limit:
            floor = max(0, reached - message_sql.STRETCH) if stretched else 0
            ids += await _ids(
                connection, statement, params, before=reached, floor=floor, limit=limit - len(ids)
            )
            reached = await newest_message(connection, floor) + 1 if floor else 0  # over a gap in one step
    return ids


async def trips(pool: Pool, limit: int) -> tuple[TripRow, ...]:
    """The newest inbound messages and how far each has come, the newest first."""
    async with pool.connection() as connection:
        return await read_trips(connection, limit, await newest_message(connection))


async def read_trips(connection: Connection, limit: int, newest_id: int) -> tuple[TripRow, ...]:
    """`trips`, on a connection that is at hand."""
    floor = max(0, newest_id - TRIP_STRETCH)
    return tuple(TripRow(**row) for row in await fetch(connection, "trips", limit, floor))


async def message_detail(pool: Pool, message_id: int) -> MessageDetail | None:
    """A message with its trip; None when there is no such message."""
    async with pool.connection() as connection:
        chosen = await _stored(connection, message_id)
        if chosen is None:
            return None
        inbound: Stored | None = None
        outbound: Stored | None = None
        if chosen.direction == "inbound":
            inbound = chosen
            head = chosen.row["turn_head_id"] or chosen.id
            replies = await fetch(connection, "message_reply", head)
            if replies:
                outbound = await _stored(connection, replies[0]["id"])
        else:
            outbound, head = chosen, chosen.row["in_reply_to"]
            inbound = await _stored(connection, head) if head else None
        turns = await fetch(connection, "message_turns", head) if head else []
        sends = await fetch(connection, "message_send", outbound.id) if outbound else []
        return MessageDetail(message_id, inbound, outbound, tuple(turns), sends[0] if sends else None)


async def find_thread(pool: Pool, wanted: str) -> int | None:
    """The conversation somebody means by a phone number, a channel's address, or part of a name."""
    wanted = wanted.strip()
    if not wanted:
        return None
    async with pool.connection() as connection:
        found = await fetch(connection, "find_address", spellings(wanted), list(CHANNELS))
        if not found:
            found = await fetch(connection, "find_name", message_sql.pattern(wanted), RECENT_THREADS)
        return found[0]["id"] if found else None


def spellings(wanted: str) -> list[str]:
    """How channels may write an address, a number among them."""
    digits = re.sub(r"[\s().+-]", "", wanted)
    if not digits.isdigit():
        return [wanted]
    return [wanted, digits, f"+{digits}", f"{digits}@c.us", f"{digits}@s.whatsapp.net", f"{digits}@lid"]


async def newest_message(connection: Connection, below: int = 2**63 - 1) -> int:
    """The highest message id below another; 0 when there is none."""
    found = await fetch(connection, "newest_message", below)
    return found[0]["id"] if found else 0


async def _ids(connection: Connection, statement: bytes, params: dict[str, Any], **bounds: int) -> list[int]:
    if not params["words"]:
        cursor = await connection.execute(statement, {**params, **bounds}, prepare=False)
        return [row["id"] for row in await cursor.fetchall()]
    try:
        async with connection.transaction():
            await connection.execute(
                f"SET LOCAL statement_timeout = {int(SEARCH_SECONDS * 1000)};"
                f" SET LOCAL pg_trgm.word_similarity_threshold = {SIMILAR}".encode()
            )
            cursor = await connection.execute(statement, {**params, **bounds}, prepare=False)
            return [row["id"] for row in await cursor.fetchall()]
    except psycopg.errors.QueryCanceled:
        raise SearchError(
            f"Not found within {SEARCH_SECONDS:.0f} s; add a word, or narrow it: thread: channel: status:"
        ) from None


async def _way(connection: Connection, search: MessageSearch) -> search_index.Way:
    """How words can be looked for now; asked only when there are some."""
    if not search.pieces:
        return "scan"
    return (await search_index.state(connection)).way


async def _rows(
    connection: Connection, ids: Sequence[int], search: MessageSearch | None = None
) -> tuple[MessageRow, ...]:
    """These messages, the oldest first; of a search for words, each text from shortly before its hit on."""
    if not ids:
        return ()
    rows = tuple(MessageRow(**row) for row in await fetch(connection, "message_rows", list(ids)))
    if search is None or not search.pieces:
        return rows
    texts = {row["id"]: row["text"] for row in await fetch(connection, "message_texts", list(ids))}
    return tuple(replace(row, text=_excerpt(texts.get(row.id), search)) for row in rows)


def _excerpt(text: str | None, search: MessageSearch) -> str:
    words = hits.alike(text, search.pieces) if search.how == "similar" else search.pieces
    return hits.excerpt(text, words)


async def _stored(connection: Connection, message_id: int) -> Stored | None:
    found = await fetch(connection, "message_detail", message_id)
    if not found:
        return None
    row = found[0]
    message = row.pop("message")
    return Stored(id=message["id"], row=message, **row)
