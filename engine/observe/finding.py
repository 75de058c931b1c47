"""Search: words in messages, names and numbers of customers. Bounded in time, in pages by message id."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime

import psycopg
from pydantic import BaseModel

from engine.database import search_index
from engine.database.connection import Pool, fetch
from engine.observe import hits, message_sql
from engine.observe.search import MessageSearch, SearchError, parse_search
from engine.observe.threads import thread_rows
from engine.observe.views import SEARCH_SECONDS, TOP, Page, page_before, spellings

CONVERSATIONS = 20
DIGITS = 4
"""Of a number, before it is looked for within addresses."""


class FoundThread(BaseModel):
    """A conversation whose customer is meant. Texts are one safe line each."""

    thread_id: int
    who: str
    address: str
    channel: str
    operator: str | None
    labels: list[str]
    last_message_at: datetime | None


class FoundMessage(BaseModel):
    """A message in which the words stand."""

    message_id: int
    thread_id: int | None
    at: datetime
    direction: str
    status: str
    channel: str
    who: str
    text: str
    """One safe line, from shortly before the first hit on."""
    hits: list[tuple[int, int]]
    """Begin and end of each hit in `text`, in characters."""


class Found(BaseModel):
    """What a search found, the newest first."""

    words: str
    how: str
    """`pieces` of words and `similar` ones by trigrams, `words` by their beginnings, or a `scan` of the latest."""
    conversations: list[FoundThread]
    messages: list[FoundMessage]
    next_before: int | None
    """Ask for what is before this id to go on; None at the end."""
    note: str | None
    """What a person should know of how it was found."""


async def first_page(
    pool: Pool, search: MessageSearch, before: int = TOP, limit: int = 200
) -> tuple[Page, MessageSearch]:
    """The newest that match, and the search that found them.

    When the words stand nowhere, words like them will do, or pieces of words among the latest messages.
    Raises SearchError when it takes too long.
    """
    page = await page_before(pool, search, before, limit)
    if page.rows or not search.pieces or search.how is not None:
        return page, search
    async with pool.connection() as connection:
        way = message_sql.served(search, (await search_index.state(connection)).way)
    if way == "scan":
        return page, search
    other = replace(search, how="similar" if way == "pieces" else "scan")
    found = await page_before(pool, other, before, limit)
    return (found, other) if found.rows else (page, search)


async def find(pool: Pool, words: str, *, before: int = TOP, limit: int = 20) -> Found:
    """Conversations by name or number, and messages by words and conditions. Raises SearchError."""
    search = parse_search(words)
    page, used = await first_page(pool, search, before, limit)
    async with pool.connection() as connection:
        way = message_sql.served(used, (await search_index.state(connection)).way)
        being_made = await search_index.progress(connection) if way == "scan" and used.pieces else None
    messages = []
    for row in reversed(page.rows):
        sought = hits.alike(row.text, used.pieces) if used.how == "similar" else used.pieces
        text = hits.excerpt(row.text, sought)
        messages.append(
            FoundMessage(
                message_id=row.id,
                thread_id=row.thread_id,
                at=row.created_at,
                direction=row.direction,
                status=row.status,
                channel=row.channel,
                who=hits.excerpt(row.who, ()),
                text=text,
                hits=hits.spans(text, sought),
            )
        )
    return Found(
        words=words,
        how=used.how or way,
        conversations=await _conversations(pool, search) if before == TOP else [],
        messages=messages,
        next_before=None if page.end else page.reached,
        note=_note(used, way, being_made, page),
    )


def _note(used: MessageSearch, way: str, being_made: str | None, page: Page) -> str | None:
    if used.how == "similar":
        return "No such words; these are like them."
    if used.how == "scan":
        return "No word begins so; these have it within a word."
    if used.pieces and way == "scan":
        reason = being_made or "there is no index of words yet"
        return None if page.end else f"Looked back to message {page.reached} only: {reason}."
    return None


async def _conversations(pool: Pool, search: MessageSearch) -> list[FoundThread]:
    """Of a search for bare words: whose name, number or address they are in."""
    if not search.text or search != MessageSearch(text=search.text):
        return []
    async with pool.connection() as connection:
        wanted = " ".join(search.pieces)
        digits = re.sub(r"[\s().+-]", "", wanted)
        number = digits.isdigit() and len(digits) >= DIGITS
        sought = message_sql.pattern(digits.removeprefix("0") if number else wanted)
        try:
            async with connection.transaction():
                await connection.execute(
                    f"SET LOCAL statement_timeout = {int(SEARCH_SECONDS * 1000)}".encode()
                )
                found = await fetch(connection, "find_threads", sought, spellings(wanted), CONVERSATIONS)
        except psycopg.errors.QueryCanceled:
            raise SearchError(
                f"Names were not looked through within {SEARCH_SECONDS:.0f} s; write a whole number."
            ) from None
    rows = await thread_rows(pool, [row["id"] for row in found])
    return [
        FoundThread(
            thread_id=row.id,
            who=hits.excerpt(row.who, ()),
            address=hits.excerpt(row.address, ()),
            channel=row.channel,
            operator=row.operator,
            labels=row.labels,
            last_message_at=row.last_message_at,
        )
        for row in rows
    ]
