"""What is left on the providers' accounts, how fast it goes, and for how long it lasts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from engine.database.connection import Connection, Pool, Row, fetch

LEAST_DAYS = 0.25
"""Balances of a shorter time say nothing about a pace."""

State = Literal["told", "unlimited", "untold", "failed"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True)
class Account:
    """A provider's account, as it was last told to an engine."""

    provider: str
    state: State
    """Of the newest question; `untold`: the provider has no way to tell, or answered without a balance."""
    problem: str | None
    """Of a question that failed."""
    asked_at: datetime
    balance_usd: float | None
    """The newest that was told; None: never, or without a limit."""
    told_at: datetime | None
    age_seconds: float | None
    """Of the balance, when it was looked up."""
    burn_usd: float | None
    """USD a day in the last 7 days; None when nothing is known of them."""
    burn_from: Literal["balance", "usage"] | None
    """Whether the account's own losses say so, or what the turns were reckoned to cost."""

    @property
    def days_left(self) -> float | None:
        """At that pace; None when there is no pace, or no balance."""
        if self.balance_usd is None or not self.burn_usd:
            return None
        return max(0.0, self.balance_usd) / self.burn_usd


async def balances(pool: Pool) -> tuple[Account, ...]:
    """`accounts`, as of now."""
    async with pool.connection() as connection:
        (row,) = await (await connection.execute("SELECT now() AS now")).fetchall()
        return await accounts(connection, row["now"])


async def accounts(connection: Connection, now: datetime) -> tuple[Account, ...]:
    """Of every provider that was asked, by name. `now` is the database's moment."""
    return tuple(_account(row, now) for row in await fetch(connection, "provider_balances", now))


def _account(row: Row, now: datetime) -> Account:
    told_at = row["told_at"]
    row["age_seconds"] = max(0.0, (now - told_at).total_seconds()) if told_at else None
    lost, lost_days = row.pop("lost_usd"), row.pop("lost_days")
    used, used_days = row.pop("used_usd"), row.pop("used_days")
    if lost and lost_days >= LEAST_DAYS:
        return Account(**row, burn_usd=lost / lost_days, burn_from="balance")
    if used is not None:
        return Account(**row, burn_usd=used / min(7.0, max(1.0, used_days)), burn_from="usage")
    return Account(**row, burn_usd=None, burn_from=None)
