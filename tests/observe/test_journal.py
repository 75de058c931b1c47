"""What the Journal reads: sources merged by time, none of them ahead of the others, however long they are."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from engine.database.connection import Pool
from engine.logs import LogRing
from engine.observe import journal as journals
from engine.observe.journal import ACTS, TURNS, Entry, Journal, JournalSearch, parse_journal
from engine.observe.search import SearchError
from engine.observe.views import TOP
from tests.support.plans import assert_bounded, plans
from tests.support.rows import Connection, connect

CROWD = pytest.mark.xdist_group("crowd")
ALL = JournalSearch()


@pytest.fixture
def rows(dsn: str) -> Iterator[Connection]:
    with connect(dsn) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("TRUNCATE et_schema_runs")
        yield connection


def act(rows: Connection, at: datetime, name: str = "reply") -> None:
    rows.execute(
        "INSERT INTO et_audit_log (at, actor, act, subject) VALUES (%s, 'lena', %s, 'thread:1')", [at, name]
    )


def turn(
    rows: Connection, at: datetime, *calls: dict[str, Any], outcome: str = "replied", reason: str = ""
) -> None:
    rows.execute(
        """INSERT INTO et_turns (tenant_id, thread_id, message_id, outcome, reason, attempts, finished_at)
           VALUES (1, 1, 7, %s, %s, %s, %s)""",
        [outcome, reason or None, Jsonb(list(calls)), at],
    )


def call(provider: str, failure: str | None = None, *, skipped: bool = False) -> dict[str, Any]:
    return {"provider": provider, "model": "m", "ok": failure is None and not skipped, "failure": failure,
            "skipped": skipped}  # fmt: skip


async def read(pool: Pool, ring: LogRing | None = None) -> Journal:
    journal = Journal(ring)
    await journal.renew(pool)
    return journal


def told(journal: Journal, search: JournalSearch = ALL) -> list[tuple[str, str]]:
    return [(entry.source, entry.what) for entry in journal.entries(search)]


async def test_sources_are_merged_by_time(pool: Pool, rows: Connection) -> None:
    now, ring = datetime.now(UTC), LogRing()
    act(rows, now - timedelta(minutes=3), "takeover")
    turn(rows, now - timedelta(minutes=2), call("uniapi", "rate"), call("zai"))
    rows.execute(
        "INSERT INTO et_schema_runs (started_at, finished_at, actor, ok, blockers) VALUES (%s, %s, 'lena', false, %s)",
        [now - timedelta(minutes=1), now - timedelta(minutes=1), Jsonb([{"what": "a column is missing"}])],
    )
    ring.append(
        {"timestamp": now.isoformat(), "level": "warning", "logger": "engine.llm", "event": "circuit", "a": 1}
    )
    journal = await read(pool, ring)
    assert told(journal) == [
        ("act", "takeover"), ("llm", "rate"), ("schema", "schema not compatible"), ("log", "circuit")
    ]  # fmt: skip
    entries = {entry.source: entry for entry in journal.entries(ALL)}
    assert (entries["llm"].who, entries["llm"].level) == ("uniapi", "warning")
    assert entries["llm"].about == "zai answered · message:7"
    assert entries["schema"].about == "a column is missing"
    assert (entries["log"].who, entries["log"].about) == ("llm", "a=1")


async def test_only_calls_that_failed_are_told(pool: Pool, rows: Connection) -> None:
    now = datetime.now(UTC)
    turn(rows, now, call("uniapi"))
    turn(rows, now, call("uniapi", skipped=True), call("zai"))
    turn(rows, now, outcome="takeover", reason="policy.opt_out")
    turn(rows, now, call("uniapi", "money"), call("zai", "auth"), outcome="error", reason="llm.auth")
    rows.execute("UPDATE et_turns SET attempts = '\"odd\"' WHERE outcome = 'takeover'")
    journal = await read(pool)
    (entry,) = journal.entries(ALL)
    assert (entry.who, entry.what, entry.level) == ("uniapi, zai", "money, auth", "error")
    assert entry.about == "error: llm.auth · message:7"


async def test_what_is_new_and_what_was_committed_late_is_found_in_its_place(
    pool: Pool, rows: Connection
) -> None:
    now = datetime.now(UTC)
    act(rows, now - timedelta(minutes=9), "first")
    rows.execute("SELECT nextval(pg_get_serial_sequence('et_audit_log', 'id'))")
    act(rows, now - timedelta(minutes=7), "third")
    journal = await read(pool)
    version = journal.version
    assert await journal.renew(pool) == version, "nothing is new"
    rows.execute(
        """INSERT INTO et_audit_log (id, at, actor, act, subject) OVERRIDING SYSTEM VALUE
           SELECT max(id) - 1, %s, 'lena', 'second', 'thread:1' FROM et_audit_log""",
        [now - timedelta(minutes=8)],
    )
    act(rows, now, "fourth")
    assert await journal.renew(pool) > version
    assert [what for _, what in told(journal)] == ["first", "second", "third", "fourth"]


async def test_nothing_is_told_from_before_what_every_source_has_been_read_to(
    pool: Pool, rows: Connection
) -> None:
    now = datetime.now(UTC)
    turn(rows, now - timedelta(days=3), call("uniapi", "rate"))
    for number in range(ACTS + 50):
        act(rows, now - timedelta(minutes=ACTS + 50 - number), f"act{number}")
    journal = await read(pool)
    assert told(journal)[0] == ("act", "act50"), "the failure of three days ago would stand beside a gap"
    assert not journal.end
    await journal.older(pool)
    assert journal.end
    assert told(journal)[:2] == [("llm", "rate"), ("act", "act0")]
    assert len(told(journal)) == ACTS + 51


async def test_a_flood_since_the_last_look_leaves_no_gap(
    pool: Pool, rows: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "ACTS", 5)
    now = datetime.now(UTC)
    act(rows, now - timedelta(days=2), "old")
    journal = await read(pool)
    for number in range(12):
        act(rows, now + timedelta(seconds=number), f"act{number}")
    await journal.renew(pool)
    assert [what for _, what in told(journal)] == ["old", *(f"act{number}" for number in range(12))]
    for number in range(12, 60):
        act(rows, now + timedelta(seconds=number), f"act{number}")
    await journal.renew(pool)
    names = [what for _, what in told(journal)]
    assert names == [f"act{number}" for number in range(60 - len(names), 60)], (
        "what could not be joined is read anew"
    )
    while not journal.end:
        await journal.older(pool)
    assert len(told(journal)) == 61


def test_a_search_takes_sources_levels_and_words() -> None:
    entry = Entry(datetime.now(UTC), "act", 1, "info", "Lena", "takeover", "thread:12", None)
    assert parse_journal("audit TAKEOVER lena").matches(entry)
    assert parse_journal("act log thread:12").matches(entry)
    assert not parse_journal("log takeover").matches(entry)
    assert not parse_journal("warning").matches(entry)
    assert not parse_journal("")
    with pytest.raises(SearchError, match="llm, schema"):
        parse_journal("level:loud")


@CROWD
async def test_looking_back_goes_on_stretch_by_stretch(crowd: Pool) -> None:
    journal = await read(crowd)
    reached = journal.since
    for _ in range(12):
        await journal.older(crowd)
        assert journal.since <= reached
        reached = journal.since
    entries = journal.entries(ALL)
    assert {"act", "llm"} <= {entry.source for entry in entries}
    times = [entry.at for entry in entries]
    assert times == sorted(times)
    acts = [entry.id for entry in entries if entry.source == "act"]
    assert acts == list(range(acts[0], acts[-1] + 1)), "without a gap"


@CROWD
@pytest.mark.parametrize(
    ("name", "values", "most"),
    [
        ("provider_failures", [TOP, TURNS], 2 * TURNS),
        ("provider_failures", [50_000, TURNS], 2 * TURNS),
        ("schema_run_heads", [TOP, 20], 100),
        ("audit_page", [100_000, 80_000, None, None, ACTS], 2 * ACTS),
    ],
)
def test_no_statement_reads_history_whatever_its_values(
    crowd_dsn: str, name: str, values: list[Any], most: int
) -> None:
    assert_bounded(plans(crowd_dsn, name, values), most)


@CROWD
@pytest.mark.bench
async def test_a_look_takes_no_longer_than_20_ms(crowd: Pool) -> None:
    journal, taken = await read(crowd), []
    for _ in range(20):
        begun = time.perf_counter()
        await journal.renew(crowd)
        journal.entries(ALL)
        taken.append(time.perf_counter() - begun)
    assert sorted(taken)[len(taken) // 2] <= 0.020
