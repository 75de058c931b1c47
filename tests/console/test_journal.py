"""The Journal: log, acts, failed calls and schema runs in one list, and what goes into a file."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from console.screens.export import Export
from console.screens.inbox import InboxScreen
from console.screens.journal import JournalScreen
from console.screens.journal_rows import diff
from engine.settings import load_settings
from tests.console.desk import PICTURES, Still, after, assert_clean, bytes_written, me, now, still
from tests.console.stage import Stage, stage
from tests.support.consoles import make_app
from tests.support.conversations import HOSTILE, Planted
from tests.support.rows import Connection, connect
from tests.support.seeder import FROZEN

__all__ = ["me", "now", "still"]

CALLS = [
    {"provider": "uniapi", "model": "gpt-4.1-mini", "ok": False, "skipped": False, "failure": "rate",
     "http_status": 429, "latency_ms": 210, "error": "slow down"},
    {"provider": "zai", "model": "glm-4.5-air", "ok": True, "skipped": False, "latency_ms": 1400},
]  # fmt: skip


def plant_journal(connection: Connection, now: datetime = FROZEN) -> int:
    """Acts and failures around `now`; returns the thread they are about."""
    planted = Planted(connection, now)
    thread = planted.thread("Frida Sand", "frida", 3, inbound=4)
    message = planted.said(thread, "Are you open?", 4)
    owners = {"owner": "ai", "operator": None, "epoch": 0}, {"owner": "human", "operator": "lena", "epoch": 0}
    acts = [
        (12, "lena", "takeover", f"thread:{thread}", owners[0], owners[1], None),
        (9, "otto", "setting", "setting:record_context_prompt", {"value": False}, {"value": True}, None),
        (2, HOSTILE, HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, None, HOSTILE),
    ]
    for minutes, actor, act, subject, before, changed, note in acts:
        planted.plant.plant(
            "et_audit_log", at=planted.ago(minutes), actor=actor, origin="desk from 10.0.0.7", act=act, note=note,
            subject=subject, before=Jsonb(before), after=Jsonb(changed) if changed else None,
        )  # fmt: skip
    turn = {"tenant_id": 1, "thread_id": thread, "message_id": message, "engine": "engine-1"}
    planted.plant.plant(
        "et_turns", **turn, outcome="replied", attempts=Jsonb(CALLS), finished_at=planted.ago(6)
    )
    planted.plant.plant(
        "et_turns", **turn, outcome="replied", attempts=Jsonb(CALLS[1:]), finished_at=planted.ago(5)
    )
    planted.plant.plant("et_turns", **turn, outcome="error", reason="llm.rate", attempts=Jsonb(CALLS[:1]),
                        finished_at=planted.ago(4))  # fmt: skip
    connection.execute("SET session_replication_role = replica")
    connection.execute("UPDATE et_schema_runs SET started_at = %s, finished_at = %s", [planted.ago(60)] * 2)
    connection.execute("SET session_replication_role = DEFAULT")
    return thread


@asynccontextmanager
async def journal(
    dsn: str, folder: Path, size: tuple[int, int] = (140, 40), **options: Any
) -> AsyncIterator[Stage]:
    """The journal, read."""
    settings = load_settings(http_enabled=False, data_dir=folder)
    async with stage(dsn, size, settings=settings, **options) as seen:
        await seen.press("8")
        await seen.sees("schema compatible")
        yield seen


def listed(seen: Stage) -> list[tuple[str, str]]:
    """Source and event of every entry in the list."""
    screen = seen.app.screen
    assert isinstance(screen, JournalScreen)
    return [(entry.source, entry.what) for entry in screen._list.rows]


async def filtered(seen: Stage, words: str) -> None:
    await seen.press("slash", "ctrl+u")
    await seen.write(words)
    await seen.press("enter")


# Seeing


async def test_all_sources_stand_in_one_list_by_time(
    dsn: str, tmp_path: Path, rows: Connection, now: datetime
) -> None:
    plant_journal(rows, now)
    async with journal(dsn, tmp_path) as seen:
        logging.getLogger("engine.test").warning("something_happened")
        await seen.sees("something_happened")
        assert [what for _, what in listed(seen)] == [
            "schema compatible", "takeover", "setting", "rate", "rate", HOSTILE, "something_happened"
        ]  # fmt: skip
        await seen.sees("uniapi", "zai answered", "error: llm.rate", "otto", "setting:record_context_prompt")


async def test_it_says_where_the_engines_logs_are(dsn: str, tmp_path: Path) -> None:
    async with journal(dsn, tmp_path) as seen:
        await seen.sees("Engine logs are with the engines")


async def test_an_act_tells_what_it_changed(
    dsn: str, tmp_path: Path, rows: Connection, now: datetime
) -> None:
    plant_journal(rows, now)
    async with journal(dsn, tmp_path) as seen:
        await filtered(seen, "takeover")
        await seen.press("enter")
        await seen.sees(
            "- owner: ai", "+ owner: human", "- operator: null", "+ operator: lena", "desk from 10.0.0.7"
        )
        assert "+ epoch" not in seen.text
        await filtered(seen, "zai")
        await seen.sees(
            "1 ✗ uniapi gpt-4.1-mini  failed rate 429  210 ms", "slow down", "2 ✓ zai glm-4.5-air  answered"
        )


def test_a_diff_tells_values_of_any_shape() -> None:
    def told(before: Any, changed: Any) -> list[str]:
        return [line.plain for line in diff(before, changed)]

    assert told({"a": 1, "b": [2]}, {"a": 1, "b": [3]}) == ["  a: 1", "- b: [2]", "+ b: [3]"]
    assert told(None, "text") == ['+ value: "text"']
    assert told(["x"], None) == ['- value: ["x"]']
    assert told(None, None) == ["It changed no values."]


async def test_the_filter_takes_sources_levels_and_words(
    dsn: str, tmp_path: Path, rows: Connection, now: datetime
) -> None:
    plant_journal(rows, now)
    async with journal(dsn, tmp_path) as seen:
        await filtered(seen, "llm error")
        await seen.until(lambda: listed(seen) == [("llm", "rate")], "the turn without an answer")
        await filtered(seen, "act otto")
        await seen.until(lambda: listed(seen) == [("act", "setting")], "his act")
        await filtered(seen, "source:nowhere")
        await seen.sees("“source:nowhere” is not known")
        await seen.press("q")
        await seen.until(lambda: len(listed(seen)) >= 6, "everything again")
        await seen.press("s", "s")
        await seen.until(lambda: {source for source, _ in listed(seen)} == {"act"}, "the second source")


async def test_it_follows_until_one_looks_back(
    dsn: str, tmp_path: Path, rows: Connection, now: datetime
) -> None:
    plant_journal(rows, now)
    async with journal(dsn, tmp_path) as seen:
        await seen.sees("● following")
        screen = seen.app.screen
        assert isinstance(screen, JournalScreen)
        logging.getLogger("engine.test").warning("first")
        await seen.until(
            lambda: screen._list.row is not None and screen._list.row.what == "first", "the cursor on it"
        )
        await seen.press("k")
        await seen.sees("G follows")
        chosen = screen._list.row
        logging.getLogger("engine.test").warning("second")
        await seen.sees("second")
        assert screen._list.row == chosen
        await seen.press("f")
        assert screen._list.row is not None
        assert screen._list.row.what == "second"


async def test_history_is_read_as_one_looks_back(
    dsn: str, tmp_path: Path, rows: Connection, now: datetime
) -> None:
    for number in range(450):
        rows.execute(
            "INSERT INTO et_audit_log (at, actor, act, subject) VALUES (%s, 'lena', %s, 'thread:1')",
            [now - timedelta(minutes=500 - number), f"act{number}"],
        )
    async with journal(dsn, tmp_path) as seen:
        await filtered(seen, "act")
        await seen.until(lambda: 20 <= len(listed(seen)) < 450, "the newest ones")
        for _ in range(20):
            await seen.press("g")
            await seen.pilot.pause(0.2)
        await seen.until(lambda: len(listed(seen)) == 450, "all of them")
        assert [what for _, what in listed(seen)] == [f"act{number}" for number in range(450)]


async def test_an_entry_leads_to_its_conversation(
    dsn: str, tmp_path: Path, rows: Connection, now: datetime
) -> None:
    plant_journal(rows, now)
    async with journal(dsn, tmp_path) as seen:
        await filtered(seen, "setting")
        await seen.until(lambda: len(listed(seen)) == 1, "the setting")
        await seen.press("o")
        await seen.hears("It is about no conversation or message.")
        await filtered(seen, "takeover")
        await seen.until(lambda: listed(seen) == [("act", "takeover")], "the takeover")
        await seen.press("o")
        await seen.until(lambda: isinstance(seen.app.screen, InboxScreen), "the inbox")
        await seen.sees("Frida Sand  frida")


async def test_a_small_terminal_shows_the_list_or_the_entry(
    dsn: str, tmp_path: Path, rows: Connection, now: datetime
) -> None:
    plant_journal(rows, now)
    async with journal(dsn, tmp_path, (80, 24)) as seen:
        await filtered(seen, "takeover")
        await seen.press("enter")
        await seen.sees("+ owner: human")
        await seen.press("q")
        await seen.until(lambda: "+ owner: human" not in seen.text, "the list again")


async def test_hostile_words_never_reach_the_terminal(
    dsn: str, tmp_path: Path, rows: Connection, now: datetime
) -> None:
    plant_journal(rows, now)
    async with journal(dsn, tmp_path) as seen:
        logging.getLogger("engine.test").warning(HOSTILE)
        await seen.press("enter")
        await seen.sees("[b]bold[/b]")
        for _ in range(8):
            assert_clean(seen)
            await seen.press("k")


async def test_nothing_is_sent_to_the_terminal_while_nothing_changes(
    dsn: str, tmp_path: Path, rows: Connection, now: datetime
) -> None:
    plant_journal(rows, now)
    async with journal(dsn, tmp_path, clock=Still(now)) as seen:
        await seen.press("enter")
        await seen.pilot.pause(1.5)
        assert await bytes_written(seen, 3) == 0


# Files


@pytest.mark.parametrize(("key", "kind"), [("j", "jsonl"), ("c", "csv")])
async def test_what_is_listed_goes_into_a_file(
    dsn: str,
    tmp_path: Path,
    rows: Connection,
    now: datetime,
    key: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant_journal(rows, now)
    rows.execute("INSERT INTO et_audit_log (actor, act, subject) VALUES ('=cmd()', 'takeover', 'thread:9')")
    async with journal(dsn, tmp_path) as seen:
        delivered: list[tuple[str, str]] = []

        def deliver(text: Any, *, save_filename: str, **_: Any) -> None:
            delivered.append((save_filename, text.read()))

        monkeypatch.setattr(seen.app, "deliver_text", deliver)
        await filtered(seen, "act")
        await seen.until(lambda: len(listed(seen)) == 4, "acts")
        await seen.press("e")
        await seen.until(lambda: isinstance(seen.app.screen, Export))
        await seen.sees("Export 4 entries?")
        await seen.press(key)
        await seen.until(lambda: delivered, "the file")
    name, text = delivered[0]
    assert name.endswith(f".{kind}")
    assert "\x1b" not in text
    assert "\u202e" not in text
    if kind == "csv":
        table = list(csv.DictReader(text.splitlines()))
        assert [row["what"] for row in table][:2] == ["takeover", "setting"]
        assert table[-1]["who"] == "'=cmd()", "no cell is a formula"
        assert json.loads(table[0]["detail"])["after"]["owner"] == "human"
    else:
        lines = [json.loads(line) for line in text.splitlines()]
        assert [line["what"] for line in lines][:2] == ["takeover", "setting"]
        assert lines[0]["detail"]["before"]["owner"] == "ai"
        assert all(datetime.fromisoformat(line["at"]).tzinfo for line in lines)


# Pictures


@pytest.mark.usefixtures("still")
@PICTURES
def test_picture(
    dsn: str,
    tmp_path: Path,
    size: tuple[int, int],
    colours: bool,
    snap_compare: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not colours:
        monkeypatch.setenv("NO_COLOR", "1")
    with connect(dsn) as connection:
        plant_journal(connection)
    app = make_app(dsn, tmp_path, frozen=True)
    keys = ("8",) if size[0] < 100 else ("8", "k", "k", "enter")
    until = "takeover" if size[0] < 100 else "slow down"
    assert snap_compare(app, terminal_size=size, run_before=after(*keys, until=until))
