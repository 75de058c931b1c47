"""What the Settings area tells of upkeep: retention, backup, alerts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content

from console.clock import Clock
from console.sanitise import cell
from console.screens.schema_panes import wrapped
from console.widgets.lines import Line, fit, heading
from console.words import BAD, GOOD, KEY, MUTED, STRONG, WARN, age, count

if TYPE_CHECKING:
    from engine.observe.incidents import Incident, Rule
    from engine.observe.records import Act
    from engine.operator.retention import Due

OLD_SECONDS = 7 * 86_400
"""A backup older than this is warned of."""
NAME = 12
KINDS = {
    "prompts": "whole prompts, recorded while “Record context prompt” is on",
    "traces": "what turns tried, judged and read, and the traces of replies",
    "payloads": "what channels told of messages beyond sender and kind",
    "quarantine": "bodies of webhooks that could not be read",
    "incidents": "alerts that are over",
    "engines": "records of engines that are gone",
    "audit": "who did what",
}
UPKEEP = ("retention", "backup", "alerts")
THROWN_AWAY = "The demonstration's database is thrown away at its end: there is nothing to back up."


@dataclass(frozen=True)
class Upkeep:
    """What there is to tell; empty where it was not asked for."""

    due: tuple[Due, ...] = ()
    backup: Act | None = None
    rules: tuple[Rule, ...] = ()
    targets: tuple[str, ...] = ()
    incidents: tuple[Incident, ...] = ()
    embedded: bool = True
    throwaway: bool = False
    """The demonstration's database, which goes with it."""
    folder: str = ""
    """Where backups go."""
    busy: bool = False
    """A backup is being made."""


def index_words(upkeep: Upkeep, key: str, clock: Clock) -> Content:
    """The line of the index."""
    if key == "backup":
        if upkeep.busy:
            return Content.styled("being made …", MUTED)
        if upkeep.throwaway:
            return Content.styled("not in a demonstration", MUTED)
        if not upkeep.embedded:
            return Content.styled("by pg_dump", MUTED)
        if upkeep.backup is None:
            return Content.styled("! never made", WARN)
        seconds = clock.age(upkeep.backup.at)
        late = (seconds or 0) > OLD_SECONDS
        return Content.styled(f"{'! ' if late else ''}{age(seconds)} ago", WARN if late else "")
    if key == "alerts":
        wrong = sum(1 for incident in upkeep.incidents if incident.resolved_at is None)
        return Content.styled(f"! {count(wrong)} open", BAD) if wrong else Content.styled("● all well", GOOD)
    return Content.styled("by kind", MUTED)


def pane(upkeep: Upkeep, key: str, clock: Clock, width: int) -> Iterator[Line]:
    """All about one of `UPKEEP`."""
    match key:
        case "retention":
            yield from _retention(upkeep, clock, width)
        case "backup":
            yield from _backup(upkeep, clock, width)
        case "alerts":
            yield from _alerts(upkeep, clock, width)


def _retention(upkeep: Upkeep, clock: Clock, width: int) -> Iterator[Line]:
    yield Line(Content.styled("Retention", STRONG))
    yield from wrapped(
        "What is only kept for looking back goes after its days, every hour. Messages and turns themselves stay.",
        width,
        style=MUTED,
    )
    yield Line(Content(""))
    yield _keys(("tab", "to the kinds"), ("e", "days"), ("r", "run now"))
    yield Line(Content(""))
    yield heading("Kinds", "" if upkeep.due else "counting …")
    for due in upkeep.due:
        days = f"{due.days:g} days" if due.days else "for ever"
        if due.due:
            past = Content.styled(f"{_many(due)} past it", WARN)
        else:
            past = Content.styled("none past it" if due.days else "", MUTED)
        yield Line(
            Content.assemble("  ", fit(Content(due.kind), NAME), fit(Content(days), 10), " ", past),
            ("kept", due.kind),
        )
        oldest = f"oldest {clock.local(due.oldest):%Y-%m-%d}" if due.oldest else ""
        about = [words for words in (oldest, KINDS.get(due.kind, "") if width >= 60 else "") if words]
        if about:
            yield Line(Content.styled(f"    {' · '.join(about)}", MUTED))
    ran = [due for due in upkeep.due if due.ran_at is not None]
    if ran:
        yield Line(Content(""))
        yield heading("Last runs")
    for due in ran:
        yield Line(
            Content.assemble(
                (f"{clock.time(due.ran_at)} ", MUTED),
                fit(Content(due.kind), NAME),
                f"{count(due.ran_gone or 0)} gone ",
                cell(due.ran_by or "", MUTED, 40),
            )
        )


def _many(due: Due) -> str:
    from engine.operator.retention import COUNT_LIMIT

    return f"more than {count(COUNT_LIMIT)}" if due.due > COUNT_LIMIT else count(due.due)


def _backup(upkeep: Upkeep, clock: Clock, width: int) -> Iterator[Line]:
    yield Line(Content.styled("Backup", STRONG))
    if upkeep.throwaway:
        yield from wrapped(THROWN_AWAY, width)
        return
    if not upkeep.embedded:
        yield from wrapped(
            "DATABASE_URL names a PostgreSQL of your own: back it up with its own means, for example", width
        )
        yield from wrapped('pg_dump --format=custom --file=monday.dump "$DATABASE_URL"', width, "  ", KEY)
        yield from wrapped(
            'pg_restore --clean --if-exists --dbname="$DATABASE_URL" monday.dump', width, "  ", KEY
        )
        return
    yield from wrapped(
        "The whole database in one file, made while engines go on and proven by a restore beside it. It holds "
        "customers' messages.",
        width,
        style=MUTED,
    )
    yield Line(Content(""))
    act = upkeep.backup
    if upkeep.busy:
        yield Line(Content.styled("… one is being made", WARN))
    if act is None:
        yield Line(Content.styled("! No backup is on record", WARN))
    else:
        told = act.after if isinstance(act.after, dict) else {}
        proven = told.get("verified")
        yield _fact("last", Content(f"{age(clock.age(act.at))} ago, {clock.full(act.at)[:16]}"))
        yield _fact("by", cell(act.actor, limit=60))
        file = Path(str(told.get("file", "")))
        for line in wrapped(
            file.name if str(file.parent) == upkeep.folder else str(file), max(20, width - NAME)
        ):
            yield _fact("file", line.content)
        size = told.get("bytes")
        size_words = f", {size / 1e6:,.1f} MB" if isinstance(size, int) else ""
        yield _fact("holds", Content(f"{count(int(told.get('rows') or 0))} rows{size_words}"))
        words, look = ("✓ by a restore: identical", GOOD) if proven else ("not verified", WARN)
        yield _fact("proof", Content.styled(words, look))
    yield Line(Content(""))
    yield _keys(("r", "back up now"))
    yield from wrapped(f"into {upkeep.folder}", width, style=MUTED)
    yield Line(Content(""))
    yield heading("Restore")
    yield from wrapped("Stop engines and consoles, then, in a terminal:", width, style=MUTED)
    yield from wrapped("switchboard restore FILE --force", width, "  ", KEY)
    yield from wrapped(
        "It is compared before it counts. The AI is paused afterwards, and open sends wait for your decision.",
        width,
        style=MUTED,
    )


def _alerts(upkeep: Upkeep, clock: Clock, width: int) -> Iterator[Line]:
    yield Line(Content.styled("Alerts", STRONG))
    yield from wrapped(
        "Each opens an incident, told once, and once more when it is over.", width, style=MUTED
    )
    yield Line(Content(""))
    yield _keys(("tab", "to the rules"), ("e", "threshold"), ("t", "test alert"))
    yield Line(Content(""))
    yield heading("Rules")
    for rule in upkeep.rules:
        mark = ("● ", GOOD) if rule.on else ("○ ", MUTED)
        words = Content(rule.when) if rule.on else Content.styled("off", MUTED)
        yield Line(Content.assemble("  ", mark, fit(Content(rule.name), NAME), words), ("rule", rule.name))
    yield Line(Content(""))
    yield heading("Told")
    for name, setting in (
        ("webhook", "SWITCHBOARD_ALERT_WEBHOOK_URL"),
        ("command", "SWITCHBOARD_ALERT_COMMAND"),
    ):
        there = name in upkeep.targets
        yield _fact(name, Content.styled("● set", GOOD) if there else Content.styled(f"○ {setting}", MUTED))
    yield _fact("console", Content.styled("● bell and toast", GOOD))
    yield Line(Content(""))
    yield heading("Incidents", "" if upkeep.incidents else "none")
    for incident in upkeep.incidents:
        yield from _incident(incident, clock, width)


def _incident(incident: Incident, clock: Clock, width: int) -> Iterator[Line]:
    if incident.resolved_at is None:
        state = Content.styled(f"! open for {age(clock.age(incident.opened_at))}", BAD)
    else:
        lasted = (incident.resolved_at - incident.opened_at).total_seconds()
        state = Content.styled(f"✓ over after {age(lasted)}", GOOD)
    yield Line(
        Content.assemble((f"{clock.time(incident.opened_at)} ", MUTED), cell(incident.rule), "  ", state)
    )
    yield from wrapped(incident.what, width - 2, "  ", MUTED)
    for told in incident.told:
        yield Line(Content.assemble("  → ", cell(told, "" if told.endswith("done") else WARN, 200)))


def _fact(name: str, value: Content) -> Line:
    return Line(Content.assemble(fit(Content.styled(name, MUTED), NAME), value))


def _keys(*keys: tuple[str, str]) -> Line:
    return Line(
        Content.assemble(*(Content.assemble((key, KEY), (f" {word}   ", MUTED)) for key, word in keys))
    )
