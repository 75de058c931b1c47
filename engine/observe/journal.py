"""The journal: this process's log, operators' acts, failed LLM calls, schema runs and alerts, by time.

Each source is read in stretches, the newest first. What is told reaches as far back as every source has been
read; a source that holds less is read further when more is wanted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from engine.database.connection import Pool, fetch
from engine.logs import LogLine, LogRing
from engine.observe.incidents import Incident, incidents
from engine.observe.records import Act, acts
from engine.observe.search import SearchError
from engine.observe.threads import ALWAYS
from engine.observe.views import TOP
from engine.text import one_line

ACTS = 100
TURNS = 300
RUNS = 20
INCIDENTS = 100
CATCH_UP = 5
"""Stretches that a source is read to join what came to what is held; beyond that it begins anew."""
KEEP = 10_000
"""Entries held of one source, about; the oldest are let go, and read again when they are wanted."""
SOURCES = {"log": "log", "logs": "log", "act": "act", "acts": "act", "audit": "act", "llm": "llm", "provider": "llm",
           "incident": "llm", "incidents": "llm", "schema": "schema", "alert": "alert", "alerts": "alert"}  # fmt: skip
LEVELS = {"warning": ("warning", "error", "critical"), "error": ("error", "critical")}
KNOWN = "log, act, llm, schema, alert, warning, error, or words of the entry"


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened. Texts may be foreign."""

    at: datetime
    source: str
    """`log`, `act`, `llm`, `schema` or `alert`."""
    id: int
    level: str
    who: str
    """The logger, the operator, the providers."""
    what: str
    about: str
    detail: Any = field(compare=False)
    """All there is to know: a LogLine, an Act, or a row."""

    @property
    def key(self) -> tuple[str, int]:
        return self.source, self.id


@dataclass(frozen=True, slots=True)
class JournalSearch:
    """Conditions that must all hold; empty is any."""

    sources: frozenset[str] = frozenset()
    levels: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self != JournalSearch()

    def matches(self, entry: Entry) -> bool:
        """Whether the entry is looked for."""
        if (self.sources and entry.source not in self.sources) or (
            self.levels and entry.level not in self.levels
        ):
            return False
        text = f"{entry.who} {entry.what} {entry.about}".casefold() if self.words else ""
        return all(word in text for word in self.words)


@dataclass(frozen=True, slots=True)
class Stretch:
    """What reading a source brought."""

    entries: tuple[Entry, ...]
    reached: int
    """The lowest id that was looked at."""
    since: datetime
    """Nothing of the source from then on is left out."""
    end: bool
    """Nothing lies before."""


def parse_journal(words: str) -> JournalSearch:
    """A search as typed. Raises SearchError, whose text says what is known."""
    search = JournalSearch()
    for word in words.casefold().split():
        name, sign, _ = word.partition(":")
        if word in SOURCES:
            search = replace(search, sources=search.sources | {SOURCES[word]})
        elif word in LEVELS:
            search = replace(search, levels=LEVELS[word])
        elif sign and name in ("source", "level"):
            raise SearchError(f"“{word}” is not known; known are {KNOWN}")
        else:
            search = replace(search, words=(*search.words, word))
    return search


class Source:
    """Entries of one table, held from `since` on."""

    def __init__(self, read: Callable[[Pool, int], Awaitable[Stretch]]) -> None:
        self._read = read
        self.held: dict[int, Entry] = {}
        self.reached = TOP
        self.since: datetime | None = None
        self.end = False

    async def renew(self, pool: Pool) -> bool:
        """Read what is new; whether something was. One that was committed late is found, too."""
        newest, before, found = max(self.held, default=0), TOP, dict[int, Entry]()
        for _ in range(CATCH_UP):
            stretch = await self._read(pool, before)
            found |= {entry.id: entry for entry in stretch.entries}
            before = stretch.reached
            if stretch.end or self.since is None or stretch.reached <= newest:
                break
        else:
            self.held.clear()
            self.since = None
        if self.since is None:
            self.reached, self.since, self.end = stretch.reached, stretch.since, stretch.end
        changed = bool(found.keys() - self.held.keys())
        self.held |= found
        self._let_go()
        return changed

    async def older(self, pool: Pool) -> None:
        """Read a stretch before what is held."""
        stretch = await self._read(pool, self.reached)
        self.held |= {entry.id: entry for entry in stretch.entries}
        self.reached, self.end = stretch.reached, stretch.end
        self.since = min(stretch.since, self.since or stretch.since)

    def _let_go(self) -> None:
        if len(self.held) > 2 * KEEP:
            kept = sorted(self.held)[-KEEP:]
            self.held = {i: self.held[i] for i in kept}
            self.reached, self.end = kept[0], False
            self.since = min(entry.at for entry in self.held.values())


class Journal:
    """All sources, merged."""

    def __init__(self, ring: LogRing | None) -> None:
        self._ring = ring
        self._lines: list[Entry] = []
        self._heard = 0
        self._tables = (Source(_acts), Source(_failures), Source(_runs), Source(_alerts))
        self.version = 0
        """Counts up with every change."""

    async def renew(self, pool: Pool) -> int:
        """Read what is new; returns the version."""
        changed = [await source.renew(pool) for source in self._tables]
        if self._listen() or any(changed):
            self.version += 1
        return self.version

    def _listen(self) -> bool:
        lines = self._ring.since(self._heard) if self._ring is not None else []
        self._lines += [_line(line) for line in lines]
        self._heard = lines[-1].number if lines else self._heard
        del self._lines[:-KEEP]
        return bool(lines)

    @property
    def end(self) -> bool:
        """Everything there is has been read."""
        return all(source.end for source in self._tables)

    @property
    def since(self) -> datetime:
        """Nothing from then on is left out."""
        return max((s.since for s in self._tables if s.since is not None and not s.end), default=ALWAYS)

    async def older(self, pool: Pool) -> int:
        """Read the source that reaches back the least, unless it holds `KEEP` already; returns the version."""
        behind = [source for source in self._tables if not source.end and source.since is not None]
        behind = [source for source in behind if len(source.held) < KEEP]
        if behind:
            await max(behind, key=lambda source: source.since or ALWAYS).older(pool)
            self.version += 1
        return self.version

    def entries(self, search: JournalSearch) -> tuple[Entry, ...]:
        """What matches, the oldest first, as far back as nothing is left out."""
        since = self.since
        found = [entry for source in self._tables for entry in source.held.values()] + self._lines
        matching = (entry for entry in found if entry.at >= since and search.matches(entry))
        return tuple(sorted(matching, key=lambda entry: (entry.at, entry.key)))


def _line(line: LogLine) -> Entry:
    logger = line.logger.removeprefix("engine.")
    about = " ".join(f"{key}={value}" for key, value in line.fields.items())
    return Entry(line.at, "log", line.number, line.level, logger, line.event, one_line(about, 500), line)


async def _acts(pool: Pool, before: int) -> Stretch:
    rows = await acts(pool, before=before, limit=ACTS)
    entries = tuple(Entry(a.at, "act", a.id, "info", a.actor, a.act, _act_about(a), a) for a in rows)
    if not entries:
        return Stretch((), 0, ALWAYS, end=True)
    return Stretch(entries, entries[-1].id, min(e.at for e in entries), end=len(entries) < ACTS)


def _act_about(act: Act) -> str:
    return f"{act.subject} · {act.note}" if act.note else act.subject


async def _failures(pool: Pool, before: int) -> Stretch:
    async with pool.connection() as connection:
        rows = await fetch(connection, "provider_failures", before, TURNS)
    looked = rows[0]["looked"]
    if not looked:
        return Stretch((), 0, ALWAYS, end=True)
    entries = tuple(_failure(row) for row in rows if row["id"] is not None)
    return Stretch(entries, rows[0]["reached"], rows[0]["since"], end=looked < TURNS)


def _failure(row: Mapping[str, Any]) -> Entry:
    """What failed, in the order it was tried, and how the turn ended all the same."""
    attempts = [a for a in row["attempts"] if isinstance(a, dict)]
    lost = [a for a in attempts if not a.get("ok") and not a.get("skipped")]
    won = next((a for a in attempts if a.get("ok")), None)
    who = ", ".join(dict.fromkeys(str(a.get("provider")) for a in lost))
    why = ", ".join(dict.fromkeys(str(a.get("failure") or "failed") for a in lost))
    ended = f"{won.get('provider')} answered" if won else f"{row['outcome']}: {row['reason'] or 'no answer'}"
    level = "warning" if won or row["outcome"] == "retry" else "error"
    return Entry(
        row["at"], "llm", row["id"], level, who, why, f"{ended} · message:{row['message_id']}", dict(row)
    )


async def _runs(pool: Pool, before: int) -> Stretch:
    async with pool.connection() as connection:
        rows = await fetch(connection, "schema_run_heads", before, RUNS)
    if not rows:
        return Stretch((), 0, ALWAYS, end=True)
    entries = tuple(_run(row) for row in rows)
    return Stretch(entries, entries[-1].id, min(e.at for e in entries), end=len(entries) < RUNS)


def _run(row: Mapping[str, Any]) -> Entry:
    told = "; ".join(row["blockers"]) or (
        f"changed: {', '.join(row['changed'])}" if row["changed"] else "unchanged"
    )
    what = "schema compatible" if row["ok"] else "schema not compatible"
    return Entry(
        row["at"], "schema", row["id"], "info" if row["ok"] else "error", row["actor"], what, told, dict(row)
    )


async def _alerts(pool: Pool, before: int) -> Stretch:
    """An incident is an entry when it begins, with twice its number, and one more when it is over."""
    found = await incidents(pool, limit=INCIDENTS, before=(before + 1) // 2)
    if not found:
        return Stretch((), 0, ALWAYS, end=True)
    entries = [_alert(one, one.opened_at, over=False) for one in found]
    entries += [_alert(one, one.resolved_at, over=True) for one in found if one.resolved_at is not None]
    since = min(one.opened_at for one in found)
    return Stretch(tuple(entries), 2 * found[-1].id, since, end=len(found) < INCIDENTS)


def _alert(incident: Incident, at: datetime, *, over: bool) -> Entry:
    what = f"{incident.rule} is over" if over else incident.rule
    return Entry(
        at, "alert", 2 * incident.id + over, "info" if over else "warning", incident.subject, what, incident.what,
        incident.model_dump(mode="json"),
    )  # fmt: skip
