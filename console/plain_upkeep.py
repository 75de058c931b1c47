"""What the commands of upkeep print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel

from engine.observe import one_line
from engine.observe.incidents import Incident, Rule
from engine.operator.retention import COUNT_LIMIT, Due, Kept

if TYPE_CHECKING:
    from engine.operator.backup import BackedUp, Restored
    from engine.operator.erasure import Erasure


def backup_lines(done: BackedUp) -> Iterator[str]:
    """How much, and whether it is proven."""
    manifest = done.manifest
    yield (
        f"{manifest.rows} rows of {len(manifest.tables)} tables in {done.file} "
        f"({done.bytes / 1e6:.1f} MB, {done.seconds:.1f} s)"
    )
    yield "Restored beside the database and compared: identical" if done.verified else "Not verified"


def restore_lines(done: Restored) -> Iterator[str]:
    """What is there now, and what waits for a person."""
    manifest = done.manifest
    yield (
        f"{manifest.rows} rows of {len(manifest.tables)} tables from {manifest.made_at:%Y-%m-%d %H:%M} UTC, "
        f"identical to the backup ({done.seconds:.1f} s)"
    )
    if done.unconfirmed_sends:
        yield f"! {done.unconfirmed_sends} sends were open then and may have left since: decide in Outbound"
    if done.waiting:
        yield f"! {done.waiting} messages were unanswered then and may have been answered since: look at them first"
    yield "! The AI is paused: resume it on the console's Overview (k)"


def erasure_lines(told: Erasure, *, done: bool = False) -> Iterator[str]:
    """Who it is about, and how much there is of each kind."""
    who = [f"lead {lead}" for lead in told.lead_ids] + [f"thread {thread}" for thread in told.thread_ids]
    yield f"{'Erased: ' if done else ''}{', '.join(who)}"
    counts = told.model_dump(exclude={"lead_ids", "thread_ids"})
    yield " · ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


class Alerts(BaseModel):
    """What `switchboard alerts` tells."""

    rules: list[Rule]
    targets: list[str]
    incidents: list[Incident]


class AlertsSet(BaseModel):
    """What is set of alerts in the database."""

    alerts: dict[str, float | bool]


def alert_lines(told: Alerts, at_start: Sequence[Rule]) -> Iterator[str]:
    """Rules, targets, then incidents: those that are not over with a mark. `at_start`: without what is set live."""
    for rule in told.rules:
        source = _source(rule.setting, live=rule not in at_start)
        yield f"{rule.name:<11}{rule.when if rule.on else 'off'}  ({source})"
    yield f"Told: {', '.join(['in the console', *told.targets])}"
    if not told.incidents:
        yield "No incidents"
    for incident in told.incidents:
        until = f"until {incident.resolved_at:%Y-%m-%d %H:%M}" if incident.resolved_at else "goes on"
        mark = " " if incident.resolved_at else "!"
        yield f"{mark} {incident.id} {incident.opened_at:%Y-%m-%d %H:%M} {until}  {incident.rule}: {incident.what}"
        yield from (f"    {one_line(line)}" for line in incident.told)


class Retention(BaseModel):
    """What `switchboard retention` tells."""

    kinds: list[Due]


def _source(variable: str, *, live: bool) -> str:
    """Where a value comes from: a variable that is overruled has no effect."""
    return f"set live, in place of {variable}" if live else variable


def retention_lines(told: list[Due], at_start: Sequence[Kept], *, run: bool) -> Iterator[str]:
    """How long each kind is kept, what went, and what is past its time. `at_start`: without what is set live."""
    days = {kept.kind: kept.days for kept in at_start}
    for kept in told:
        parts = [f"{kept.days:g} days" if kept.days else "for ever"]
        if run:
            parts.append(f"{kept.gone} gone now")
        elif kept.days:
            parts.append(f"{due_words(kept)} past it")
        if kept.ran_at is not None:
            parts.append(
                f"last run {kept.ran_at:%Y-%m-%d %H:%M} by {one_line(kept.ran_by or '')}: {kept.ran_gone} gone"
            )
        variable = f"SWITCHBOARD_KEEP_{kept.kind.upper()}_DAYS"
        yield f"{kept.kind:<11}{', '.join(parts)}  ({_source(variable, live=kept.days != days[kept.kind])})"


def due_words(kept: Due) -> str:
    """How much a run would take, and since when it has been there."""
    many = f"more than {COUNT_LIMIT:,}" if kept.due > COUNT_LIMIT else f"{kept.due:,}"
    return f"{many} since {kept.oldest:%Y-%m-%d}" if kept.oldest else many
