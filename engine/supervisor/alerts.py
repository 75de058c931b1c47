"""The watch that makes incidents of what is wrong, and tells each once, and once more when it is over.

All of it is kept in the database: a restart repeats nothing and forgets nothing, and several engines share it.
While the database is away nothing can be told: watch `/api/v1/ready` from outside for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from pydantic import BaseModel

from engine.database.connection import Pool, fetch, to_json
from engine.database.directory import in_force
from engine.logs import get_logger
from engine.model import InboundStatus
from engine.observe.accounts import Account, accounts
from engine.observe.health import SystemHealth, system_health
from engine.observe.incidents import targets
from engine.observe.usage import Today, today
from engine.settings import Settings
from engine.supervisor.alert_targets import Alert, tell
from engine.text import clean_for_storage, one_line

log = get_logger(__name__)
HOLD_OFF_SECONDS = 15.0
"""What passes sooner is no incident."""
OVER_SECONDS = 45.0
"""What has not been found for this long is over."""
HELD_SECONDS = 60.0
MOST_TRIES = 8
RETRY_SECONDS = 5.0
FEWEST_TURNS = 10
BATCH = 5
"""Told one after the other, each for up to 10 s: all before another engine takes them for forgotten."""
TRUSTED_SECONDS = 86_400.0
"""A balance that is older says nothing about now."""


class Finding(BaseModel):
    """A rule that applies now."""

    rule: str
    subject: str
    what: str

    @property
    def key(self) -> tuple[str, str]:
        return self.rule, self.subject


class AlertWatch:
    """Looks every few seconds; see `watch` and `deliver`."""

    def __init__(
        self,
        pool: Pool,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        hold_off: float = HOLD_OFF_SECONDS,
        over: float = OVER_SECONDS,
    ) -> None:
        self._pool, self._settings, self._clock = pool, settings, clock
        self._hold_off, self._over = hold_off, over
        self._since: dict[tuple[str, str], float] = {}

    async def watch(self) -> None:
        """Open what is new, close what is over."""
        health = await system_health(self._pool)
        if health.schema_compatibility is None or not health.schema_compatibility.compatible:
            return  # the tables of alerts may be what is missing; readiness tells
        settings = await in_force(self._pool, self._settings)
        found = findings(
            settings,
            health,
            await today(self._pool, settings.daily_budget_usd),
            await self._error_share(),
            await self._accounts(),
        )
        lasting = self._lasting(found)
        async with self._pool.connection() as connection:
            changed = await fetch(
                connection,
                "incidents_seen",
                to_json([finding.model_dump() for finding in lasting]),
                self._over,
                targets(self._settings),
            )
        for row in changed:
            log.warning(f"alert.{row['event']}", rule=row["rule"], subject=row["subject"], what=row["what"])

    async def deliver(self) -> None:
        """Tell what is to be told. A target that fails is tried again, up to `MOST_TRIES` times."""
        async with self._pool.connection() as connection:
            due = await fetch(connection, "claim_alerts", BATCH, HELD_SECONDS)
        for row in due:
            alert = Alert(**{name: row[name] for name in Alert.model_fields})
            problem = await tell(self._settings, row["target"], alert, delivery=str(row["id"]))
            await self._note(row["id"], row["attempts"], problem)

    def _lasting(self, found: Iterable[Finding]) -> list[Finding]:
        now = self._clock()
        current = {finding.key: finding for finding in found}
        self._since = {key: self._since.get(key, now) for key in current}
        return [finding for key, finding in current.items() if now - self._since[key] >= self._hold_off]

    async def _error_share(self) -> tuple[int, int]:
        """Failed turns and all turns of the last 10 minutes, of the newest 200."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                """SELECT count(*) FILTER (WHERE outcome = 'error') AS failed, count(*) AS turns
                     FROM (SELECT outcome, kind, finished_at FROM et_turns ORDER BY id DESC LIMIT 200) t
                    WHERE kind <> 'dry_run' AND finished_at > now() - interval '10 minutes'"""
            )
            row = await cursor.fetchone()
        assert row is not None
        return row["failed"], row["turns"]

    async def _accounts(self) -> tuple[Account, ...]:
        async with self._pool.connection() as connection:
            row = await (await connection.execute("SELECT now() AS now")).fetchone()
            assert row is not None
            return await accounts(connection, row["now"])

    async def _note(self, delivery: int, attempts: int, problem: str | None) -> None:
        status = "done" if problem is None else "failed" if attempts >= MOST_TRIES else "pending"
        async with self._pool.connection() as connection:
            await connection.execute(
                """UPDATE et_alert_deliveries
                      SET status = %s, last_error = %s, next_attempt_at = now() + make_interval(secs => %s),
                          finished_at = CASE WHEN %s <> 'pending' THEN now() END
                    WHERE id = %s AND status = 'pending' AND attempts = %s""",
                [status, problem, RETRY_SECONDS * 2**attempts, status, delivery, attempts],
            )
        if problem is not None:
            log.warning("alert.not_told", delivery=delivery, attempts=attempts, why=problem)


def findings(
    settings: Settings,
    health: SystemHealth,
    usage: Today,
    errors: tuple[int, int],
    held: Sequence[Account] = (),
) -> list[Finding]:
    """Every rule that applies to these figures."""
    found: list[Finding] = []
    if settings.alert_blockers:
        found += [
            _finding("blocker", f"{b.code} {b.where}", f"{b.what.rstrip('.')}. {b.remedy}")
            for b in health.blockers
        ]
    paused = any(warning.code == "ai.paused" for warning in health.warnings)
    ages = {
        queue.status: queue.oldest_age_seconds or 0.0 for queue in health.queues if queue.queue == "inbound"
    }
    limit = settings.alert_queue_seconds
    if limit and not paused and ages.get(InboundStatus.RECEIVED, 0.0) > limit:
        found.append(
            _finding("queue_age", "inbound", f"A message has waited more than {limit:g} s for its turn.")
        )
    minutes = settings.alert_takeover_minutes
    if minutes and ages.get(InboundStatus.HUMAN_TAKEOVER, 0.0) > minutes * 60:
        what = f"A customer has waited more than {minutes:g} min for a person."
        found.append(_finding("takeover", "inbox", what))
    failed, turns = errors
    if settings.alert_error_share and turns >= FEWEST_TURNS and failed / turns >= settings.alert_error_share:
        found.append(
            _finding("error_rate", "turns", f"{failed} of the last {turns} turns ended in an error.")
        )
    share = settings.alert_spend_share
    for budget in usage.budgets:
        if share and budget.share is not None and budget.share >= share:
            what = f"{budget.name} has spent {budget.spent_usd:.2f} of {budget.cap_usd:.2f} USD today."
            found.append(_finding("spend", f"tenant:{budget.tenant_id}", what))
    return [*found, *_short_of_money(settings.alert_balance_days, held)]


def _short_of_money(days: float, held: Sequence[Account]) -> Iterator[Finding]:
    """Accounts that last for less than so many days; 0 asks for none."""
    for account in held:
        left, age = account.days_left, account.age_seconds
        if left is None or age is None or age > TRUSTED_SECONDS or left >= days:
            continue
        what = (
            f"{account.provider} has {account.balance_usd:.2f} USD left, {left:.1f} days at the pace of the last "
            "7 days. Top up the account."
        )
        yield _finding("balance", f"provider:{account.provider}", what)


def _finding(rule: str, subject: str, what: str) -> Finding:
    return Finding(
        rule=rule,
        subject=one_line(clean_for_storage(subject), 200),
        what=one_line(clean_for_storage(what), 500),
    )
