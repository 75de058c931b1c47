"""Watching the channel accounts: is each one well, and do receipts come back for what was sent?

What is found goes into the engine's snapshot, and into `et_channel_accounts` whenever it changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from engine.channels.base import Channel
from engine.channels.registry import ChannelRegistry
from engine.database.connection import Pool, Row, fetch, to_json
from engine.logs import get_logger
from engine.model import Blocker, ComponentHealth

log = get_logger(__name__)
LOOK_BACK_SECONDS = 24 * 3600.0
COUNTED = 1000
"""Sends without a receipt are counted up to here, for each channel."""
AGAIN_SECONDS = 2.0
"""Between the two checks that a webhook asks for; sessions change their state in bursts."""


class ChannelWatch:
    """The health of every account of one engine."""

    def __init__(
        self,
        pool: Pool,
        channels: ChannelRegistry,
        *,
        receipt_seconds: float,
        on_checked: Callable[[str, bool], None],
    ) -> None:
        """`on_checked` is told of each `channel/account` whether it was found well."""
        self._pool, self._channels, self._on_checked = pool, channels, on_checked
        self._receipt_seconds = receipt_seconds
        self._health: dict[str, ComponentHealth] = {}
        self._noted: dict[str, tuple[str, str]] = {}
        self._checking: set[str] = set()
        self.warnings: list[Blocker] = []
        """Accounts whose sends are not confirmed."""

    @property
    def health(self) -> list[ComponentHealth]:
        """What was found last."""
        return list(self._health.values())

    async def probe(self) -> None:
        """Ask every far end. Raises psycopg.Error."""
        await self._check(self._channels)

    async def probe_now(self, channel: str) -> None:
        """Ask the far ends of one channel, whose webhook announced a change, and once more when it is over."""
        if channel in self._checking:
            return
        self._checking.add(channel)
        try:
            await self._check(self._channels.accounts(channel))
            await asyncio.sleep(AGAIN_SECONDS)
        finally:
            self._checking.discard(channel)
        await self._check(self._channels.accounts(channel))

    async def _check(self, channels: Iterable[Channel]) -> None:
        found = await asyncio.gather(*(channel.health() for channel in channels))
        for health in found:
            self._health[health.name] = health
            if health.state in ("up", "degraded", "down"):
                self._on_checked(health.name, health.state != "down")
        await self._note(found)

    async def _note(self, found: Iterable[ComponentHealth]) -> None:
        """Write down what has changed since this engine last did."""
        told = {health.name: (health.state, _detail(health)) for health in found}
        news = {name: state for name, state in told.items() if self._noted.get(name) != state}
        if not news:
            return
        rows = []
        for name, (state, detail) in news.items():
            channel, _, account = name.partition("/")
            rows.append({"channel": channel, "account": account, "state": state, "detail": detail})
        async with self._pool.connection() as connection:
            await fetch(connection, "note_account_states", to_json(rows))
        self._noted |= news

    async def watch_receipts(self) -> None:
        """Look for sends that nothing has confirmed in time. Raises psycopg.Error."""
        names = sorted({channel.name for channel in self._channels if channel.capabilities.receipts})
        if not names:
            return
        async with self._pool.connection() as connection:
            rows = await fetch(
                connection, "sends_unconfirmed", names, self._receipt_seconds, LOOK_BACK_SECONDS, COUNTED
            )
        self.warnings = [_unconfirmed(row) for row in rows]


def _detail(health: ComponentHealth) -> str:
    return health.blocker.what if health.blocker else health.detail


def _unconfirmed(row: Row) -> Blocker:
    count = f"{row['count']}{'+' if row['count'] >= COUNTED else ''}"
    route = f"{row['channel']}/{row['account']}"
    return Blocker(
        code="channel.unconfirmed",
        what=f"{count} message(s) sent by {route} have no delivery receipt; the oldest left "
        f"{_age(row['oldest_seconds'])} ago.",
        where=route,
        remedy="If customers do not get them either, restart the session or check the webhook; a phone that is "
        "switched off confirms nothing, too.",
    )


def _age(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{max(seconds / 60, 1):.0f} min"
