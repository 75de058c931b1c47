"""Everything a far end's webhook or poll held, in one commit: messages, phone replies, receipts, cursor.

Only when this has committed does the far end hear that it was taken; until then it will send it again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import psycopg

from engine.channels.base import Channel, Inbound, Parsed, ResolvingChannel
from engine.channels.webhook import Collector
from engine.database.connection import Connection, Pool, fetch, transaction
from engine.inbound.intake import apply_edits, store_inbound
from engine.logs import get_logger
from engine.operator.phone import take_over_from_phone
from engine.outbound.receipts import apply_receipts

log = get_logger(__name__)
RESOLVE_SECONDS = 2.0
"""The far end of a webhook waits for our answer meanwhile."""
CURSOR_DAYS = 6
"""After a week without news Telegram numbers its updates anew, perhaps below the offset kept here, which would
throw them away unseen."""


REFUSED = (psycopg.DataError, psycopg.errors.ProgramLimitExceeded)
"""The database will never take such a value, however often it is brought."""


class Arrived(NamedTuple):
    """What was stored."""

    messages: int = 0
    duplicates: int = 0
    phone_replies: int = 0
    receipts: int = 0
    quarantined: int = 0


async def store_arrivals(
    pool: Pool, channel: Channel, parsed: Parsed, *, next_offset: int | None = None
) -> Arrived:
    """Store what came in through an account, and the offset to poll from next. Raises psycopg.Error."""
    parsed = replace(parsed, inbounds=tuple(await _with_aliases(pool, channel, parsed.inbounds)))
    try:
        arrived = await _commit(pool, channel, parsed, next_offset, _store)
    except REFUSED:
        arrived = await _commit(pool, channel, parsed, next_offset, _store_singly)
    if arrived.quarantined:
        log.warning(
            "intake.quarantined",
            channel=channel.name,
            account=channel.account,
            bodies=arrived.quarantined,
        )
    return arrived


async def _commit(
    pool: Pool,
    channel: Channel,
    parsed: Parsed,
    next_offset: int | None,
    store: Callable[[Connection, Channel, Parsed], Awaitable[Arrived]],
) -> Arrived:
    """Rows and offset together."""
    async with transaction(pool) as connection:
        arrived = await store(connection, channel, parsed)
        if next_offset is not None:
            await _move_cursor(connection, channel, next_offset)
    return arrived


async def _store(connection: Connection, channel: Channel, parsed: Parsed) -> Arrived:
    """Everything at once."""
    accounts = [message.account for message in parsed.inbounds] + [edit.account for edit in parsed.edits]
    tenants = await _tenants(connection, channel, accounts)
    inbounds = await _not_erased(connection, channel, tenants, parsed.inbounds)
    theirs = [message for message in inbounds if not message.from_me]
    stored = 0
    for account, tenant_id in tenants.items():
        messages = [message for message in theirs if message.account == account]
        if messages:
            stored += await store_inbound(
                connection, tenant_id=tenant_id, channel=channel.name, messages=messages
            )
        edits = [edit for edit in parsed.edits if edit.account == account]
        if edits:
            await apply_edits(connection, tenant_id=tenant_id, channel=channel.name, edits=edits)
    ours = [message for message in inbounds if message.from_me and message.by_api is not True]
    phone = [await _from_phone(connection, tenants[one.account], channel, one) for one in ours]
    receipts = 0
    if parsed.receipts:
        receipts = await apply_receipts(connection, channel.name, parsed.receipts)
    for odd in parsed.quarantined:
        await connection.execute(
            "INSERT INTO et_intake_quarantine (channel, account, why, body) VALUES (%s, %s, %s, %s)",
            [channel.name, channel.account, odd.why, odd.body],
        )
    return Arrived(stored, len(theirs) - stored, sum(phone), receipts, len(parsed.quarantined))


async def _not_erased(
    connection: Connection, channel: Channel, tenants: dict[str, int], inbounds: Sequence[Inbound]
) -> Sequence[Inbound]:
    """Without redeliveries of what was erased. The intake trigger does the same, but only for the row itself:
    where a lead or a thread would be made before it, it is asked here."""
    doubtful = [message for message in inbounds if message.aliases or message.from_me]
    if not doubtful:
        return inbounds
    erased = await fetch(
        connection,
        "find_erased",
        channel.name,
        [tenants[message.account] for message in doubtful],
        [message.account for message in doubtful],
        [message.provider_message_id for message in doubtful],
    )
    gone = {row["id"] for row in erased}
    return [message for message in inbounds if message.provider_message_id not in gone]


async def _store_singly(connection: Connection, channel: Channel, parsed: Parsed) -> Arrived:
    """One by one, so that what the database refuses costs its neighbours nothing and does not come back."""
    total = await _store(connection, channel, Parsed(quarantined=parsed.quarantined))
    singles: list[tuple[Parsed, Any]] = [
        *((Parsed(inbounds=(one,)), one.raw) for one in parsed.inbounds),
        *((Parsed(edits=(one,)), repr(one)) for one in parsed.edits),
        *((Parsed(receipts=(one,)), repr(one)) for one in parsed.receipts),
    ]
    for single, raw in singles:
        try:
            async with connection.transaction():
                arrived = await _store(connection, channel, single)
        except REFUSED as error:
            found = Collector()
            found.quarantine(f"refused by the database: {type(error).__name__}", raw)
            arrived = await _store(connection, channel, found.parsed())
        total = Arrived(*(before + more for before, more in zip(total, arrived, strict=True)))
    return total


async def poll_cursor(connection: Connection, channel: Channel) -> int | None:
    """The offset an account is polled from next; None when there is none that still means anything."""
    cursor = await connection.execute(
        "SELECT poll_cursor FROM et_channel_accounts WHERE channel = %s AND account = %s"
        "   AND poll_cursor_at > now() - make_interval(days => %s)",
        [channel.name, channel.account, CURSOR_DAYS],
    )
    row = await cursor.fetchone()
    return row["poll_cursor"] if row else None


async def _with_aliases(pool: Pool, channel: Channel, inbounds: Sequence[Inbound]) -> list[Inbound]:
    """Messages of people who are new to us, with the other address the channel knows them under, if any."""
    if not isinstance(channel, ResolvingChannel):
        return list(inbounds)
    completed = []
    for message in inbounds:
        if not message.aliases and not await _known(pool, channel, message.address):
            other = await channel.resolve(message.address, timeout=RESOLVE_SECONDS)
            if other is not None:
                message = replace(message, aliases=(other,))
        completed.append(message)
    return completed


async def _known(pool: Pool, channel: Channel, address: str) -> bool:
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT FROM et_lead_addresses WHERE channel = %s AND address = %s LIMIT 1",
            [channel.name, address],
        )
        return await cursor.fetchone() is not None


async def _tenants(connection: Connection, channel: Channel, accounts: Iterable[str]) -> dict[str, int]:
    """The tenant of each account, the channel's own included; an account that is new belongs to the first.

    One webhook may serve several accounts. Writes only what is new: every write wakes all engines.
    """
    names = sorted({channel.account, *accounts})
    known = await _tenants_known(connection, channel, names)
    if len(known) < len(names):
        await connection.execute(
            "INSERT INTO et_channel_accounts (channel, account) SELECT %s, unnest(%s::text[])"
            " ON CONFLICT (channel, account) DO NOTHING",
            [channel.name, [name for name in names if name not in known]],
        )
        known = await _tenants_known(connection, channel, names)
    return known


async def _tenants_known(connection: Connection, channel: Channel, names: list[str]) -> dict[str, int]:
    cursor = await connection.execute(
        "SELECT account, tenant_id FROM et_channel_accounts WHERE channel = %s AND account = ANY (%s)",
        [channel.name, names],
    )
    return {row["account"]: int(row["tenant_id"]) for row in await cursor.fetchall()}


async def _move_cursor(connection: Connection, channel: Channel, next_offset: int) -> None:
    await connection.execute(
        "UPDATE et_channel_accounts SET poll_cursor = %s, poll_cursor_at = now(), updated_at = now()"
        " WHERE channel = %s AND account = %s",
        [next_offset, channel.name, channel.account],
    )


async def _from_phone(connection: Connection, tenant_id: int, channel: Channel, message: Inbound) -> bool:
    """A message from our own account: an echo of ours, or a person who answered on the phone."""
    cursor = await connection.execute(
        "SELECT et_thread_for(%s, NULL, %s, %s, %s) AS id",
        [tenant_id, channel.name, message.account, message.address],
    )
    row = await cursor.fetchone()
    assert row is not None
    reply = await take_over_from_phone(
        connection,
        row["id"],
        message.text,
        provider_message_id=message.provider_message_id,
        at=message.provider_timestamp,
        by_hand=message.by_api is False,
        raw=message.raw,
    )
    return reply is not None
