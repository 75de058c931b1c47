"""Incidents: what alerts were about, and how telling them went."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Pool
from engine.database.directory import in_force
from engine.settings import Settings

__all__ = ["RULES", "Incident", "Rule", "in_force", "incidents", "rules", "targets"]

RULES = ("blocker", "queue_age", "error_rate", "spend", "balance", "takeover")


class Rule(BaseModel):
    """A rule as it is set."""

    model_config = ConfigDict(frozen=True)

    name: str
    on: bool
    when: str
    setting: str


class Incident(BaseModel):
    """Something that was wrong, or is."""

    model_config = ConfigDict(frozen=True)

    id: int
    rule: str
    subject: str
    what: str
    opened_at: datetime
    resolved_at: datetime | None
    told: list[str]
    """How each target was told of it: `webhook opened done`, `command resolved pending: …`."""


def rules(settings: Settings) -> list[Rule]:
    """Every rule with its threshold in words."""
    seconds, minutes = settings.alert_queue_seconds, settings.alert_takeover_minutes
    errors, spend = settings.alert_error_share, settings.alert_spend_share
    told = {
        "blocker": (settings.alert_blockers, "something keeps messages from being answered", "BLOCKERS"),
        "queue_age": (seconds > 0, f"a message has waited {seconds:g} s for its turn", "QUEUE_SECONDS"),
        "error_rate": (errors > 0, f"{errors:.0%} of the last 10 minutes' turns failed", "ERROR_SHARE"),
        "spend": (spend > 0, f"{spend:.0%} of a tenant's budget of the day is spent", "SPEND_SHARE"),
        "balance": (
            settings.alert_balance_days > 0,
            f"a provider's account lasts less than {settings.alert_balance_days:g} days",
            "BALANCE_DAYS",
        ),
        "takeover": (
            minutes > 0,
            f"a customer has waited {minutes:g} min for a person",
            "TAKEOVER_MINUTES",
        ),
    }
    return [
        Rule(name=name, on=told[name][0], when=told[name][1], setting=f"SWITCHBOARD_ALERT_{told[name][2]}")
        for name in RULES
    ]


def targets(settings: Settings) -> list[str]:
    """Where alerts go beside the console."""
    return [
        *(["webhook"] if settings.alert_webhook_url else []),
        *(["command"] if settings.alert_command else []),
    ]


async def incidents(pool: Pool, *, limit: int = 50, before: int | None = None) -> list[Incident]:
    """The newest first; with `before`, those with lower numbers."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            """SELECT i.id, i.rule, i.subject, i.what, i.opened_at, i.resolved_at,
                      ARRAY(SELECT concat_ws(' ', d.target, d.event, d.status || coalesce(': ' || d.last_error, ''))
                              FROM et_alert_deliveries d WHERE d.incident_id = i.id ORDER BY d.id) AS told
                 FROM et_incidents i WHERE %s::bigint IS NULL OR i.id < %s ORDER BY i.id DESC LIMIT %s""",
            [before, before, limit],
        )
        return [Incident(**row) for row in await cursor.fetchall()]
