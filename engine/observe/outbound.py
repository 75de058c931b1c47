"""The outbound queue: what wants a decision, what is on its way, what has left."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.database.connection import Connection, Pool, fetch
from engine.observe.message_sql import STRETCH
from engine.observe.records import Act, SendRow, acts, send_rows
from engine.observe.search import SearchError
from engine.observe.views import CHANNELS, TOP, MessageDetail, message_detail
from engine.text import clean_for_storage

OPEN = ("unknown", "failed", "retry", "sending", "queued")
"""What may still want a person, in the order it is shown."""
GROUPS = (*OPEN, "cancelled", "sent")
DEFAULT = (*OPEN, "sent")
FAILED = frozenset({"unknown", "failed", "cancelled"})
EACH = 50
"""Of each group, where several are shown together."""
PAGE = 100
WAITING = 1_000
"""Of a group that is on its way and shown alone: those next in turn."""
LOOK = 10_000
"""Rows of a status that are looked at, the newest failed and the next in turn of the others."""
ALL = 100_000
"""The same, for an act on everything that matches."""
WORDS = {"unknown": "unknown", "failed": "failed", "retry": "retry", "retrying": "retry",
         "retry_scheduled": "retry", "sending": "sending",
         "processing": "sending", "queued": "queued", "waiting": "queued", "cancelled": "cancelled", "sent": "sent",
         "accepted": "sent"}  # fmt: skip
KNOWN = (
    "unknown failed retry sending queued cancelled sent channel:telegram class:permanent thread:12 tenant:1"
)


@dataclass(frozen=True, slots=True)
class SendSearch:
    """Conditions that must all hold; None is any."""

    groups: tuple[str, ...] = DEFAULT
    channel: str | None = None
    tenant_id: int | None = None
    thread_id: int | None = None
    error_class: str | None = None

    def __bool__(self) -> bool:
        return self != SendSearch()


@dataclass(frozen=True, slots=True)
class Outbound:
    """What matches: group by group, the newest of each first."""

    groups: tuple[tuple[str, tuple[SendRow, ...], bool], ...]
    """Name, rows, and whether there are more."""
    renewed: tuple[SendRow, ...] = ()
    """The present state of the sends that were asked for by id."""


@dataclass(frozen=True)
class SendDetail:
    """A send with its message and what people did to it."""

    row: SendRow
    message: MessageDetail | None
    acts: tuple[Act, ...]
    """Of this send alone, the newest first; an act on many names them only by their number."""


def parse_sends(words: str) -> SendSearch:
    """A search as typed. Raises SearchError, whose text says what is known."""
    search = SendSearch()
    groups: list[str] = []
    for word in clean_for_storage(words).lower().split():
        name, _, value = word.partition(":")
        if word in WORDS:
            groups.append(WORDS[word])
        elif word in CHANNELS:
            search = replace(search, channel=word)
        elif name == "channel" and value:
            search = replace(search, channel=value)
        elif name == "class" and value:
            search = replace(search, error_class=value)
        elif name == "thread" and re.fullmatch(r"\d{1,18}", value):
            search = replace(search, thread_id=int(value))
        elif name == "tenant" and re.fullmatch(r"\d{1,18}", value):
            search = replace(search, tenant_id=int(value))
        else:
            raise SearchError(f"“{word}” is not known; known are {KNOWN}")
    return replace(search, groups=tuple(g for g in GROUPS if g in groups)) if groups else search


async def outbound(pool: Pool, search: SendSearch, *, renew: Sequence[int] = ()) -> Outbound:
    """What matches, as far as it fits at first, and the present state of the sends in `renew`."""
    alone = search.groups[0] if len(search.groups) == 1 else None
    limit = EACH if alone is None else PAGE if alone in FAILED or alone == "sent" else WAITING
    async with pool.connection() as connection:
        found = await _open_ids(connection, search, TOP, LOOK, limit + 1)
        if "sent" in search.groups and search.error_class is None:
            found["sent"] = await _settled_ids(connection, search, TOP, limit + 1)
    shown = {group: ids[:limit] for group, ids in found.items()}
    wanted = {*renew, *(i for ids in shown.values() for i in ids)}
    rows = {row.id: row for row in await send_rows(pool, sorted(wanted))} if wanted else {}
    groups = tuple(
        (group, tuple(rows[i] for i in shown[group] if i in rows), len(found[group]) > limit)
        for group in search.groups
        if shown.get(group)
    )
    return Outbound(groups, tuple(rows[i] for i in renew if i in rows))


async def older_sends(pool: Pool, search: SendSearch, before: int) -> tuple[SendRow, ...]:
    """The next page of a search for a single group of failed or sent ones, the newest first."""
    async with pool.connection() as connection:
        if search.groups == ("sent",):
            ids = await _settled_ids(connection, search, before, PAGE)
        else:
            found = await _open_ids(connection, search, before, LOOK, PAGE)
            ids = found.get(search.groups[0], [])
    return (await send_rows(pool, sorted(ids)))[::-1] if ids else ()


async def matching_ids(pool: Pool, search: SendSearch) -> dict[str, list[int]]:
    """Every open or cancelled send that matches, by group; at most `ALL` of each."""
    async with pool.connection() as connection:
        return await _open_ids(connection, search, TOP, ALL, ALL)


async def send_detail(pool: Pool, queue_id: int) -> SendDetail | None:
    """One send in full; None when it does not exist."""
    rows = await send_rows(pool, [queue_id])
    if not rows:
        return None
    return SendDetail(
        rows[0],
        await message_detail(pool, rows[0].message_id),
        await acts(pool, subject=f"send:{queue_id}", limit=20),
    )


async def _open_ids(
    connection: Connection, search: SendSearch, before: int, look: int, limit: int
) -> dict[str, list[int]]:
    conditions = (search.channel, search.tenant_id, search.thread_id, search.error_class)
    found: dict[str, list[int]] = {}
    for row in await fetch(
        connection, "sends_by_group", list(search.groups), look, limit, before, *conditions
    ):
        found.setdefault(row["kind"], []).append(row["id"])
    return found


async def _settled_ids(connection: Connection, search: SendSearch, before: int, limit: int) -> list[int]:
    newest = await fetch(connection, "newest_send")
    top = min(before, newest[0]["id"] + 1 if newest else 1)
    conditions = (search.channel, search.tenant_id, search.thread_id)
    rows = await fetch(connection, "sends_settled", top, max(0, top - STRETCH), *conditions, limit)
    return [row["id"] for row in rows]
