"""Where tokens and money go: by hour, day, model, agent, tenant and task, against the caps, and how calls fare."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import StringIO

from engine.database.connection import Connection, Pool, Row, fetch
from engine.observe.accounts import Account, accounts
from engine.observe.usage import Budget
from engine.text import csv_cell

TURNS = 300
"""The newest turns that latencies and failures are told of."""
HOURS, DAYS = 24, 30
REPORTED = ("day", "hour", "model", "provider", "agent", "tenant", "task")
WAYS = ("model", "provider", "agent", "tenant", "task")
COLUMNS = (
    "hour",
    "tenant_id",
    "tenant",
    "agent_id",
    "agent",
    "task",
    "provider",
    "model",
    "turns",
    "unpriced",
    "prompt_tokens",
    "completion_tokens",
    "cost_usd",
)


@dataclass(frozen=True, slots=True)
class Used:
    """What was used under a name: a day, a model, an agent …"""

    name: str
    turns: int = 0
    unpriced: int = 0
    """Turns whose price is not known; they are not in `cost_usd`."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Outlook:
    """A tenant's budget of today (UTC), and where it is heading."""

    budget: Budget
    reserved_usd: float
    """Set aside for turns under way."""
    forecast_usd: float
    """By the end of the day, at the pace of the last 24 hours (or of as many as there are)."""
    month_usd: float = 0.0
    """By the end of the month (UTC), at the pace of the last 7 days (or of as many as there are)."""


@dataclass(frozen=True)
class Calls:
    """Calls to one provider in the newest turns."""

    provider: str
    calls: int
    skipped: int
    """Routes that were not called: their circuit was open, or no time was left."""
    answered: int
    p50_ms: float | None
    p95_ms: float | None
    """Of those that answered."""
    since: datetime | None
    failures: Mapping[str, int]
    """By failure class."""


@dataclass(frozen=True)
class Spending:
    """Everything the Usage area shows."""

    since: datetime
    ways: Mapping[str, tuple[Used, ...]]
    """Since then by `WAYS`, the dearest first."""
    hours: tuple[Used, ...]
    """The last `HOURS`, the running one last."""
    days: tuple[Used, ...]
    """The last `DAYS` by UTC, today last."""
    outlooks: tuple[Outlook, ...]
    calls: tuple[Calls, ...]
    accounts: tuple[Account, ...] = ()
    by: str | None = None
    """One of `REPORTED`, when that was asked for."""
    used: tuple[Used, ...] = ()
    """Since then by `by`, all of it: the dearest first; days and hours in their order."""

    @property
    def total(self) -> Used:
        """Of the period."""
        return added("total", self.ways.get("model", ()))

    @property
    def unpriced(self) -> tuple[Used, ...]:
        """The models of the period with turns whose price is not known, those with the most first."""
        return without_price(self.ways.get("model", ()))


def added(name: str, parts: tuple[Used, ...]) -> Used:
    """The sum of all."""
    return Used(
        name,
        sum(part.turns for part in parts),
        sum(part.unpriced for part in parts),
        sum(part.prompt_tokens for part in parts),
        sum(part.completion_tokens for part in parts),
        sum(part.cost_usd for part in parts),
    )


def without_price(models: Iterable[Used]) -> tuple[Used, ...]:
    """Those with unpriced turns, the most first."""
    return tuple(sorted((used for used in models if used.unpriced), key=lambda used: -used.unpriced))


def first_midnight(now: datetime, days: int) -> datetime:
    """When the last `days` UTC days began, today being one of them."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=days - 1)


async def spending(
    pool: Pool,
    now: datetime,
    days: int = 1,
    engine_cap_usd: float | None = None,
    earlier: Spending | None = None,
    by: str | None = None,
) -> Spending:
    """The last `days` UTC days, today being one of them; `by` one of `REPORTED`, in full. `now` is the database's.

    `earlier`, an answer of before, saves adding up days that are over.
    """
    midnight, since = first_midnight(now, 1), first_midnight(now, days)
    until = midnight + timedelta(days=1)
    async with pool.connection() as connection:
        return Spending(
            since,
            await _by(connection, since, until),
            await _hours(connection, now),
            await _days(connection, midnight, earlier.days if earlier else ()),
            await _outlooks(connection, now - midnight, engine_cap_usd),
            await _calls(connection),
            await accounts(connection, now),
            by,
            await _used(connection, since, until, by) if by else (),
        )


async def _used(connection: Connection, since: datetime, until: datetime, by: str) -> tuple[Used, ...]:
    assert by in REPORTED
    return tuple(Used(**row) for row in await fetch(connection, "usage_report", since, until, by))


async def _calls(connection: Connection) -> tuple[Calls, ...]:
    return tuple(Calls(**row) for row in await fetch(connection, "provider_calls", TURNS))


async def _days(connection: Connection, midnight: datetime, known: tuple[Used, ...]) -> tuple[Used, ...]:
    """The last `DAYS`; those of `known` that are over stay as they are."""
    names = [f"{midnight - timedelta(days=ago):%Y-%m-%d}" for ago in reversed(range(DAYS))]
    used = {day.name: day for day in known}
    begin = midnight if [*used] == names else midnight - timedelta(days=DAYS - 1)
    for row in await fetch(connection, "usage_daily", begin):
        used[row["name"]] = Used(**row)
    return tuple(used.get(name, Used(name)) for name in names)


async def _by(connection: Connection, since: datetime, until: datetime) -> dict[str, tuple[Used, ...]]:
    found: dict[str, list[Used]] = {}
    for row in await fetch(connection, "usage_by", since, until):
        found.setdefault(row.pop("way"), []).append(Used(**row))
    return {way: tuple(used) for way, used in found.items()}


async def _hours(connection: Connection, now: datetime) -> tuple[Used, ...]:
    last = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    begins = [last - timedelta(hours=ago) for ago in reversed(range(HOURS))]
    rows = {row.pop("hour"): row for row in await fetch(connection, "usage_hours", begins[0])}
    return tuple(Used(begin.isoformat(), **rows.get(begin, {})) for begin in begins)


async def _outlooks(
    connection: Connection, gone: timedelta, engine_cap_usd: float | None
) -> tuple[Outlook, ...]:
    left = max(0.0, 24 - gone.total_seconds() / 3600)
    paces = {row["tenant_id"]: row for row in await fetch(connection, "spending_pace")}
    months = {row["tenant_id"]: _month(row) for row in await fetch(connection, "usage_month")}
    outlooks = []
    for row in await fetch(connection, "budgets_today", engine_cap_usd):
        budget, pace = Budget(**row), paces.get(row["tenant_id"])
        an_hour = pace["day_usd"] / min(24.0, max(1.0, pace["hours"])) if pace and pace["hours"] else 0.0
        reserved = pace["reserved_usd"] if pace else 0.0
        forecast = budget.spent_usd + an_hour * left
        outlooks.append(Outlook(budget, reserved, forecast, months.get(row["tenant_id"], 0.0)))
    return tuple(outlooks)


def _month(row: Row) -> float:
    """A tenant's forecast of the month, USD."""
    a_day = row["week_usd"] / min(7.0, max(1.0, row["days"]))
    return float(row["month_usd"] + a_day * row["days_left"])


@dataclass(frozen=True)
class Report:
    """Usage of a period, added up in one way."""

    by: str
    since: datetime
    until: datetime
    used: tuple[Used, ...]
    """The dearest first; days and hours in their order."""
    outlooks: tuple[Outlook, ...]
    """Of today and this month, whatever the period is."""
    unpriced: tuple[Used, ...] = ()
    """The models of the period with turns whose price is not known."""
    calls: tuple[Calls, ...] = ()
    """Of the newest turns, whatever the period is."""
    accounts: tuple[Account, ...] = ()

    @property
    def total(self) -> Used:
        return added("total", self.used)


async def report(
    pool: Pool, by: str, since: datetime, until: datetime, engine_cap_usd: float | None = None
) -> Report:
    """What was used from `since` (its whole hour) until `until`, by one of REPORTED."""
    async with pool.connection() as connection:
        used = await _used(connection, since, until, by)
        models = used if by == "model" else await _used(connection, since, until, "model")
        now: datetime = (await (await connection.execute("SELECT now() AS now")).fetchall())[0]["now"]
        midnight = first_midnight(now, 1)
        return Report(
            by,
            since,
            until,
            used,
            await _outlooks(connection, now - midnight, engine_cap_usd),
            without_price(models),
            await _calls(connection),
            await accounts(connection, now),
        )


def report_csv(told: Report) -> str:
    """A report as CSV, in which no cell is a formula. `cost_usd` is empty where no price is known."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("turns", "unpriced", "prompt_tokens", "completion_tokens")
    writer.writerow([told.by, *names, "cost_usd"])
    for used in told.used:
        cost = "" if used.unpriced and used.unpriced == used.turns else str(used.cost_usd)
        writer.writerow([csv_cell(used.name), *(getattr(used, name) for name in names), cost])
    return out.getvalue()


async def usage_csv(pool: Pool, since: datetime, until: datetime) -> str:
    """The hourly usage as CSV, in which no cell is a formula. `cost_usd` is empty where no price is known."""
    out = StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    async with pool.connection() as connection:
        for begin, end in _by_day(since, until):
            for row in await fetch(connection, "usage_export", begin, end):
                if row["unpriced"] and row["unpriced"] == row["turns"]:
                    row["cost_usd"] = ""
                writer.writerow([csv_cell(str(row[column])) for column in COLUMNS])
    return out.getvalue()


def _by_day(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    while since < until:
        end = min(until, since + timedelta(days=1))
        yield since, end
        since = end
