"""The kill switch: the AI falls silent everywhere, on one channel or in one conversation, until it is resumed.

Nothing is taken over and nothing is lost: what customers write waits as `received`, and is answered after the
switch is put back, oldest first. A turn that was claimed before still ends, and replies that are queued leave.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Connection, Pool, to_json
from engine.operator.audit import BadInput, Operator, acting, audit, rows, storable_text
from engine.operator.configuration import set_setting
from engine.operator.takeover import lock_thread

CHANNELS = "paused_channels"
ADAPTERS = ("simulator", "telegram", "whatsapp_cloud", "waha", "evolution")
"""Channels that may be paused before anything has come through them."""
COUNTED = 10_000
"""Waiting messages counted, at most."""


class Switched(BaseModel):
    """What the kill switch did."""

    model_config = ConfigDict(frozen=True)

    subject: str
    """`everything`, `channel:telegram` or `thread:12`."""
    paused: bool
    changed: bool
    """False when it stood like this already."""
    waiting: int
    """Messages that wait for the AI there; at most `COUNTED`."""


async def pause(
    pool: Pool, operator: Operator, *, channel: str | None = None, thread_id: int | None = None
) -> Switched:
    """Silence the AI everywhere, or on `channel`, or in `thread_id`. Raises NotFound, BadInput, ReadOnly."""
    return await _switch(pool, operator, channel, thread_id, on=True)


async def resume(
    pool: Pool, operator: Operator, *, channel: str | None = None, thread_id: int | None = None
) -> Switched:
    """Let the AI answer again where it was paused; each of the three is put back by itself.

    Raises NotFound, BadInput, ReadOnly.
    """
    return await _switch(pool, operator, channel, thread_id, on=False)


async def _switch(
    pool: Pool, operator: Operator, channel: str | None, thread_id: int | None, *, on: bool
) -> Switched:
    if channel is not None and thread_id is not None:
        raise BadInput("Both a channel and a conversation are named.", "Name one of them.")
    if thread_id is not None:
        return await _thread(pool, operator, thread_id, on=on)
    if channel is not None:
        return await _channel(pool, operator, channel, on=on)
    async with pool.connection() as connection:
        stored = await rows(connection, "SELECT value FROM et_platform_settings WHERE key = 'ai_paused'")
        changed = (bool(stored) and stored[0]["value"] is True) != on
    operator.may_act()
    if changed:
        await set_setting(pool, operator, "ai_paused", on)
    async with pool.connection() as connection:
        return await _switched(connection, "everything", on=on, changed=changed)


async def _channel(pool: Pool, operator: Operator, name: str, *, on: bool) -> Switched:
    name = storable_text(name, "The channel's name", 64)
    async with acting(pool, operator) as connection:
        # Two who switch two channels at once must not undo each other: the lock comes before the look.
        await rows(connection, "LOCK TABLE et_platform_settings IN SHARE ROW EXCLUSIVE MODE")
        stored = await rows(connection, "SELECT value FROM et_platform_settings WHERE key = %s", CHANNELS)
        before = stored[0]["value"] if stored and isinstance(stored[0]["value"], list) else []
        if (name in before) != on:
            if on:
                await _must_exist(connection, name)
            after = sorted({*before, name} if on else {*before} - {name})
            await rows(
                connection,
                """INSERT INTO et_platform_settings (key, value, updated_by) VALUES (%s, %s::jsonb, %s)
                       ON CONFLICT (key) DO UPDATE SET value = excluded.value,
                          updated_by = excluded.updated_by, updated_at = now()""",
                CHANNELS,
                to_json(after),
                operator.name,
            )
            act = "channel.pause" if on else "channel.resume"
            former, now = {CHANNELS: before}, {CHANNELS: after}
            await audit(connection, operator, act, f"channel:{name}", former, now)
        return await _switched(
            connection, f"channel:{name}", on=on, changed=(name in before) != on, channel=name
        )


async def _must_exist(connection: Connection, name: str) -> None:
    """A misspelt channel would be paused without any effect. Raises BadInput."""
    used = await rows(
        connection,
        """SELECT channel FROM et_channel_accounts UNION SELECT %s
            WHERE EXISTS (SELECT FROM et_threads WHERE channel = %s)""",
        name,
        name,
    )
    known = {*ADAPTERS, *(row["channel"] for row in used)}
    if name not in known:
        raise BadInput(f"There is no channel {name!r}.", f"There are: {', '.join(sorted(known))}.")


async def _thread(pool: Pool, operator: Operator, thread_id: int, *, on: bool) -> Switched:
    async with acting(pool, operator) as connection:
        await lock_thread(connection, thread_id)
        # The clock of the row says since when; pausing what is paused leaves it.
        moved = await rows(
            connection,
            """UPDATE et_threads SET paused_at = CASE WHEN %s THEN now() END
                WHERE id = %s AND (paused_at IS NOT NULL) <> %s RETURNING paused_at""",
            on,
            thread_id,
            on,
        )
        if moved:
            act = "thread.pause" if on else "thread.resume"
            before, after = {"paused": not on}, {"paused": on}
            await audit(connection, operator, act, f"thread:{thread_id}", before, after)
            await rows(connection, "SELECT pg_notify('et_inbound', '')")  # engines look for work at once
        return await _switched(
            connection, f"thread:{thread_id}", on=on, changed=bool(moved), thread_id=thread_id
        )


async def _switched(
    connection: Connection,
    subject: str,
    *,
    on: bool,
    changed: bool,
    channel: str | None = None,
    thread_id: int | None = None,
) -> Switched:
    waiting = await rows(
        connection,
        """SELECT count(*) AS n FROM (
               SELECT FROM et_messages
                WHERE direction = 'inbound' AND delivery_status = 'received'
                  AND (%s::text IS NULL OR channel = %s) AND (%s::bigint IS NULL OR thread_id = %s)
                LIMIT %s) m""",
        channel,
        channel,
        thread_id,
        thread_id,
        COUNTED,
    )
    return Switched(subject=subject, paused=on, changed=changed, waiting=waiting[0]["n"])
