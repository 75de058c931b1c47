"""What was used and what it cost: today and by day from the hourly rollup; messages a minute from the newest ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from engine.database.connection import Connection, Pool, fetch

ARRIVALS = 5_000
"""Messages looked at to tell their rate, at most."""


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """What one model of one provider was used for."""

    provider: str
    model: str
    turns: int
    unpriced: int
    """Turns whose price is not known; they are not in `cost_usd`."""
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Budget:
    """A tenant's spend of today against its daily cap."""

    tenant_id: int
    name: str
    paused: bool
    spent_usd: float
    cap_usd: float | None

    @property
    def share(self) -> float | None:
        """Of the cap; None without one."""
        if self.cap_usd is None:
            return None
        return self.spent_usd / self.cap_usd if self.cap_usd else 1.0


@dataclass(frozen=True, slots=True)
class Today:
    """Today's usage, by UTC."""

    models: tuple[ModelUsage, ...] = ()
    budgets: tuple[Budget, ...] = ()
    """At most 100, those nearest to their cap first."""

    @property
    def turns(self) -> int:
        return sum(model.turns for model in self.models)

    @property
    def tokens(self) -> int:
        return sum(model.prompt_tokens + model.completion_tokens for model in self.models)

    @property
    def cost_usd(self) -> float:
        return sum(model.cost_usd for model in self.models)

    @property
    def unpriced(self) -> int:
        return sum(model.unpriced for model in self.models)


@dataclass(frozen=True, slots=True)
class DayUsage:
    """One day's usage of one model by one agent."""

    day: datetime
    tenant_id: int
    agent_id: int
    agent: str | None
    task: str
    provider: str
    model: str
    turns: int
    unpriced: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Messages by minute, as (inbound, outbound)."""

    minutes: Mapping[datetime, tuple[int, int]] = field(default_factory=dict)
    newest: int = 0

    def series(self, now: datetime, minutes: int) -> list[int]:
        """Messages in each of the last `minutes`, the running one last."""
        last = now.replace(second=0, microsecond=0)
        spans = (last - timedelta(minutes=ago) for ago in reversed(range(minutes)))
        return [sum(self.minutes.get(span, (0, 0))) for span in spans]

    def with_newer(self, newer: Arrivals, keep: int) -> Arrivals:
        """These and what came since; the last `keep` minutes of them."""
        if not newer.minutes:
            return self
        merged = dict(self.minutes)
        for minute, (inbound, outbound) in newer.minutes.items():
            before = merged.get(minute, (0, 0))
            merged[minute] = (before[0] + inbound, before[1] + outbound)
        kept = dict(sorted(merged.items())[-keep:])
        return Arrivals(kept, max(self.newest, newer.newest))


async def today(pool: Pool, engine_cap_usd: float | None = None) -> Today:
    """Today's tokens and cost by provider and model, and each tenant's spend against its cap."""
    async with pool.connection() as connection:
        return await read_today(connection, engine_cap_usd)


async def read_today(connection: Connection, engine_cap_usd: float | None = None) -> Today:
    """`today`, on a connection that is at hand."""
    models = await fetch(connection, "usage_today")
    budgets = await fetch(connection, "budgets_today", engine_cap_usd)
    return Today(tuple(ModelUsage(**row) for row in models), tuple(Budget(**row) for row in budgets))


async def days(pool: Pool, since: datetime, tenant_id: int | None = None) -> tuple[DayUsage, ...]:
    """Usage by day, agent, provider and model, the newest day first."""
    async with pool.connection() as connection:
        return tuple(DayUsage(**row) for row in await fetch(connection, "usage_days", since, tenant_id))


async def read_arrivals(connection: Connection, after: int = 0) -> Arrivals:
    """Messages by minute with ids above `after`, of the newest `ARRIVALS`."""
    found = await fetch(connection, "arrivals", after, ARRIVALS)
    minutes = {row["minute"]: (row["inbound"], row["outbound"]) for row in found}
    return Arrivals(minutes, max((row["newest"] for row in found), default=after))
