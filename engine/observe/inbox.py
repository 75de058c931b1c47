"""The inbox: which conversations want a person, which are recent, and what is said in the open one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime

from psycopg import AsyncRawCursor
from psycopg.rows import dict_row

from engine.database.connection import Connection, Pool, Row, fetch, statement, to_json
from engine.observe.message_sql import pattern
from engine.observe.search import SearchError
from engine.observe.threads import (
    NEVER,
    Conversation,
    Draft,
    ThreadRow,
    conversation,
    thread_draft,
    thread_rows,
)
from engine.observe.views import CHANNELS, TOP
from engine.text import clean_for_storage

URGENT = 120
"""Conversations that want a person, or that a person owns, shown on top at most."""
OWNED = 300
"""Conversations of people that are put in order by how long the customer waits; those taken over last."""
GIVEN_UP = 300
"""Turns and messages without an answer that are looked at for conversations nobody answers."""
PAGE = 60
STRETCH = 1_000
"""Conversations that one page of a search looks at, at most."""
LOOKS = 5
USED = 2_000
"""Conversations that are looked at for the labels and operators in use."""
KNOWN = (
    "waiting, mine, unassigned, assigned:otto, label:vip, snoozed, paused, person, ai, tenant:1, channel:telegram, "
    "a name or number"
)


@dataclass(frozen=True, slots=True)
class ThreadSearch:
    """Conditions that must all hold; None is any."""

    owner: str | None = None
    waiting: bool | None = None
    operator: str | None = None
    """Whose it is."""
    unassigned: bool | None = None
    labels: tuple[str, ...] | None = None
    """All of them."""
    snoozed: bool | None = None
    paused: bool | None = None
    """The AI is paused in it alone."""
    channel: str | None = None
    tenant_id: int | None = None
    text: str | None = None
    """Somewhere in the customer's name or address, in any case."""

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) is not None for field in fields(self))


@dataclass(frozen=True, slots=True)
class Edge:
    """How far down the list of recent conversations was read."""

    at: datetime = NEVER
    id: int = TOP
    end: bool = False
    """Nothing lies beyond."""


@dataclass(frozen=True, slots=True)
class Inbox:
    """What the inbox shows."""

    urgent: tuple[ThreadRow, ...]
    recent: tuple[ThreadRow, ...]
    """Without those in `urgent`."""
    edge: Edge
    renewed: tuple[ThreadRow, ...] = ()
    """The present state of the conversations that were asked for by id."""
    chosen: OpenThread | None = None


@dataclass(frozen=True, slots=True)
class OpenThread:
    """The conversation that is open."""

    row: ThreadRow
    talk: Conversation
    draft: Draft | None


def parse_threads(words: str, me: str) -> ThreadSearch:
    """A search as typed; `me` is the operator's name. Raises SearchError, whose text says what is known."""
    search, text = ThreadSearch(), []
    for word in clean_for_storage(words).split():
        name, sign, value = word.partition(":")
        match word.lower():
            case "waiting":
                search = replace(search, waiting=True, snoozed=search.snoozed or False)
            case "mine":
                search = replace(search, operator=me)
            case "unassigned":
                search = replace(search, unassigned=True)
            case "snoozed":
                search = replace(search, snoozed=True)
            case "paused":
                search = replace(search, paused=True)
            case "person" | "human":
                search = replace(search, owner="human")
            case "ai":
                search = replace(search, owner="ai")
            case known if known in CHANNELS:
                search = replace(search, channel=known)
            case _ if sign and name == "channel" and value:
                search = replace(search, channel=value)
            case _ if name in ("assigned", "to") and value:
                search = replace(search, operator=me if value == "me" else value)
            case _ if name == "label" and value:
                search = replace(search, labels=(*(search.labels or ()), value.casefold()))
            case _ if name == "tenant" and re.fullmatch(r"\d{1,18}", value):
                search = replace(search, tenant_id=int(value))
            case _ if sign and re.fullmatch("[a-z]+", name):
                raise SearchError(f"“{name}:” is not known; known are {KNOWN}")
            case _:
                text.append(word)
    return replace(search, text=" ".join(text) or None)


async def inbox(
    pool: Pool, search: ThreadSearch, *, chosen: int | None = None, renew: Sequence[int] = ()
) -> Inbox:
    """The top of the list, the conversation `chosen`, and the present state of those in `renew`."""
    async with pool.connection() as connection:
        urgent = await _urgent(connection, search)
        recent, edge = await _recent(connection, search, Edge())
    wanted = dict.fromkeys([*urgent, *recent, *renew, *(() if chosen is None else (chosen,))])
    rows = {row.id: row for row in await thread_rows(pool, list(wanted))}
    return Inbox(
        urgent=tuple(rows[i] for i in urgent if i in rows),
        recent=tuple(rows[i] for i in recent if i in rows and i not in set(urgent)),
        edge=edge,
        renewed=tuple(rows[i] for i in renew if i in rows),
        chosen=await _opened(pool, rows[chosen]) if chosen in rows else None,
    )


async def older_threads(pool: Pool, search: ThreadSearch, edge: Edge) -> tuple[tuple[ThreadRow, ...], Edge]:
    """The next page of recent conversations, and where it ends; after `LOOKS` stretches, what there is by then."""
    ids: list[int] = []
    async with pool.connection() as connection:
        for _ in range(LOOKS):
            found, edge = await _recent(connection, search, edge)
            ids += found
            if edge.end or len(ids) >= PAGE // 2:
                break
    return await thread_rows(pool, ids), edge


async def open_thread(pool: Pool, thread_id: int) -> OpenThread | None:
    """A conversation with the end of its talk; None when it does not exist."""
    rows = await thread_rows(pool, [thread_id])
    return await _opened(pool, rows[0]) if rows else None


async def _opened(pool: Pool, row: ThreadRow) -> OpenThread:
    return OpenThread(row, await conversation(pool, row.id), await thread_draft(pool, row.id))


async def _urgent(connection: Connection, search: ThreadSearch) -> list[int]:
    found = await fetch(connection, "threads_urgent", OWNED, GIVEN_UP, *_conditions(search), URGENT)
    return [row["id"] for row in found]


async def _recent(connection: Connection, search: ThreadSearch, edge: Edge) -> tuple[list[int], Edge]:
    """A page's ids and its end; of a search, what a stretch of conversations brings, or a page's worth of it."""
    stretch = STRETCH if search else PAGE
    row = await _stretch(connection, search, edge, stretch)
    ids: list[int] = row["ids"]
    if len(ids) > PAGE:
        return ids[:PAGE], Edge(row["times"][PAGE - 1], ids[PAGE - 1])
    if not row["looked"]:
        return ids, replace(edge, end=True)
    return ids, Edge(row["reached_at"], row["reached_id"], end=row["looked"] < stretch)


async def _stretch(connection: Connection, search: ThreadSearch, edge: Edge, stretch: int) -> Row:
    """The statement, over the smallest index that holds all that can match."""
    query = statement("threads_recent")
    for narrow, predicate in (
        (search.snoozed, b"snoozed_until IS NOT NULL"),
        (search.paused, b"paused_at IS NOT NULL"),
        (search.labels, b"labels <> '[]'::jsonb"),
        (search.operator, b"operator IS NOT NULL"),
    ):
        if narrow:
            query = query.replace(b"/* narrowed */ true", predicate)
            break
    async with AsyncRawCursor(connection, row_factory=dict_row) as cursor:
        await cursor.execute(query, (edge.at, edge.id, stretch, *_conditions(search)), prepare=True)
        return (await cursor.fetchall())[0]


@dataclass(frozen=True, slots=True)
class DeskWords:
    """What people have typed before, most used first, to complete what is being typed."""

    labels: tuple[str, ...]
    operators: tuple[str, ...]


async def desk_words(pool: Pool) -> DeskWords:
    """The labels and operators in use among the latest `USED` conversations that have any."""
    async with pool.connection() as connection:
        row = (await fetch(connection, "desk_words", USED))[0]
    return DeskWords(tuple(row["labels"]), tuple(row["operators"]))


def _conditions(search: ThreadSearch) -> tuple[object, ...]:
    return (
        search.owner,
        search.waiting,
        search.channel,
        pattern(search.text),
        search.tenant_id,
        search.operator,
        search.unassigned,
        None if search.labels is None else to_json(search.labels),
        search.snoozed,
        search.paused,
    )
