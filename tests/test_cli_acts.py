"""What an operator does from the command line: real processes on real databases, judged by what they left there."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import shutil
import stat
import subprocess
import tracemalloc
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from engine.demo.far_end import FarEnd
from engine.model import InboundStatus
from engine.observe import safe_json
from engine.observe.access import pool_at
from engine.observe.export import PAGE, SPAN, ExportFilter, export
from engine.observe.search import parse_search
from tests.support import forks
from tests.support.addresses import url
from tests.support.conversations import HOSTILE
from tests.support.rows import Connection, Planter, connect, get
from tests.test_cli import SECRET, SWITCHBOARD, Shell, assert_one_line, closed_port, parsed

RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u200b]")
"""What no terminal may get."""


@pytest.fixture
def attached(tmp_path: Path, dsn: str) -> Shell:
    """A shell on a migrated database."""
    return Shell(tmp_path, DATABASE_URL=url(dsn))


@pytest.fixture
def rows(dsn: str) -> Connection:
    return connect(dsn)


@pytest.fixture
def plant(rows: Connection) -> Planter:
    return Planter(rows)


def failed(plant: Planter, **columns: Any) -> int:
    """A message that ended with an error, in a conversation of its own."""
    given = {"reason": "llm.transient", "last_error": "no answer", "attempts": 5, "thread_id": plant.thread()}
    return plant.inbound(InboundStatus.ERROR, **given | columns)


def audits(rows: Connection) -> list[Any]:
    return rows.execute("SELECT * FROM et_audit_log ORDER BY id").fetchall()


def at_terminal(shell: Shell, answer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it with a person who types `answer`."""
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        command = [SWITCHBOARD, *arguments]
        return forks.run(command, cwd=shell.folder, env=shell.environment, stdin=theirs)
    finally:
        os.close(ours)
        os.close(theirs)


# Replay


def test_messages_are_replayed_by_id(attached: Shell, plant: Planter) -> None:
    first, second, third = failed(plant), failed(plant), failed(plant)
    done = attached("replay", str(first), str(third), "--yes")
    assert (done.returncode, done.stdout) == (0, "2 messages replayed\n"), done.stderr
    states = [get(plant.connection, "et_messages", i)["delivery_status"] for i in (first, second, third)]
    assert states == ["received", "inbound_error", "received"]
    (audit,) = audits(plant.connection)
    assert (audit["act"], audit["after"]["message_ids"]) == ("replay", [first, third])


def test_what_was_left_out_is_told_and_ends_with_1(attached: Shell, plant: Planter) -> None:
    done_before = plant.inbound(InboundStatus.AI_REPLIED, thread_id=plant.thread())
    held = failed(plant, thread_id=plant.thread(owner="human", operator=HOSTILE, epoch=1))
    done = attached("replay", str(done_before), str(held), "999", str(failed(plant)), "--yes")
    assert done.returncode == 1
    assert "1 message replayed" in done.stdout
    assert f"message {done_before}: the AI has answered it" in done.stdout
    assert "message 999: there is no such message" in done.stdout
    assert "release it first" in done.stdout
    assert not RAW.search(done.stdout)


def test_a_filter_is_counted_and_asked_about(attached: Shell, plant: Planter) -> None:
    ids = [failed(plant), failed(plant), failed(plant, reason="policy.stale"), failed(plant, channel="waha")]
    arguments = ("replay", "--reason", "llm.", "--channel", "simulator")

    declined = at_terminal(attached, "n", *arguments)
    assert declined.returncode == 1
    assert "2 messages will be answered again by the AI. Go on?" in declined.stderr
    assert "Nothing was changed" in declined.stderr
    assert audits(plant.connection) == []

    agreed = at_terminal(attached, "y", *arguments, "--json")
    assert agreed.returncode == 0, agreed
    assert parsed(agreed) == {"done": ids[:2], "skipped": {}, "not_reached": 0}
    (audit,) = audits(plant.connection)
    assert json.loads(audit["note"])["reason"] == "llm."


def test_times_and_states_narrow_a_filter(attached: Shell, plant: Planter) -> None:
    old = failed(plant, created_at=datetime(2026, 3, 1, tzinfo=UTC))
    parked = plant.inbound(InboundStatus.HUMAN_TAKEOVER, thread_id=plant.thread())
    failed(plant)
    done = attached("replay", "--since", "2026-03-01", "--until", "2026-03-01T00:01+00:00", "--yes", "--json")
    assert parsed(done)["done"] == [old]
    done = attached("replay", "--status", "inbound_human_takeover", "--since", "1h", "--yes", "--json")
    assert parsed(done)["done"] == [parked]


def test_nobody_to_ask_is_wrong_usage_and_changes_nothing(attached: Shell, plant: Planter) -> None:
    message = failed(plant)
    assert_one_line(attached("replay", str(message)), 2, "--yes")
    assert get(plant.connection, "et_messages", message)["delivery_status"] == "inbound_error"


def test_nothing_that_matches_is_told(attached: Shell, plant: Planter) -> None:
    assert_one_line(attached("replay", "--reason", "llm.", "--yes"), 1, "Nothing matches")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("1", "--channel", "waha"),
        ("--dry-run",),
        ("1", "--prompt", "x.txt"),
        ("--status", "inbound_ai_replied"),
    ],
)
def test_a_replay_that_is_not_clear_is_refused(attached: Shell, arguments: tuple[str, ...]) -> None:
    assert_one_line(attached("replay", *arguments), 2)


@pytest.mark.parametrize("arguments", [("0",), ("x",), ("--since", "yesterday"), ("--since", "999999d")])
def test_a_replay_of_what_cannot_be_is_wrong_usage(attached: Shell, arguments: tuple[str, ...]) -> None:
    done = attached("replay", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_dry_run_shows_then_and_now_and_sends_nothing(attached: Shell, plant: Planter) -> None:
    thread = plant.thread()
    message = failed(plant, thread_id=thread)
    turn = {"outcome": "takeover", "draft": f"Then we said {HOSTILE}", "model": HOSTILE, "cost_usd": "0.002"}
    plant.plant("et_turns", tenant_id=1, thread_id=thread, message_id=message, **turn)
    with FarEnd() as far:
        keys = {"UNIAPI_API_KEY": "key-of-uniapi", "UNIAPI_BASE_URL": far.uniapi_url}
        done = attached("replay", str(message), "--dry-run", **keys)
        told = parsed(attached("replay", str(message), "--dry-run", "--json", **keys))
    assert done.returncode == 0, done
    assert "nothing is sent: another text" in done.stdout
    for name in ("outcome", "model", "route", "tokens", "cost", "latency", "text"):
        assert re.search(rf"^{name} ", done.stdout, re.MULTILINE)
    assert "0.002000 USD" in done.stdout
    assert "Then we said" in done.stdout
    assert not RAW.search(done.stdout)
    assert told["new"]["text"]
    assert told["old"]["text"] == turn["draft"]
    assert told["new"]["total_tokens"] > 0
    kinds = plant.connection.execute("SELECT kind FROM et_turns ORDER BY id").fetchall()
    assert [row["kind"] for row in kinds] == ["live", "dry_run", "dry_run"]
    assert plant.connection.execute("SELECT FROM et_outbound_queue").fetchall() == []
    assert get(plant.connection, "et_messages", message)["delivery_status"] == "inbound_error"


def test_a_dry_run_that_no_model_answers_ends_with_1(attached: Shell, plant: Planter) -> None:
    done = attached("replay", str(failed(plant)), "--dry-run")
    assert done.returncode == 1
    assert "✗" in done.stdout
    assert_one_line(attached("replay", "999", "--dry-run"), 1, "Inbound message 999 does not exist")


# Takeover and release


def test_a_takeover_has_a_timer_and_a_reason(attached: Shell, plant: Planter) -> None:
    thread = plant.thread()
    waiting = plant.inbound(InboundStatus.RECEIVED, thread_id=thread)
    done = attached("takeover", str(thread), "--minutes", "45", "--reason", "complaint", LOGNAME="lena")
    assert done.returncode == 0, done
    assert f"Thread {thread} is answered by lena, until 2" in done.stdout
    assert "1 message waiting, 0 sends cancelled" in done.stdout
    row = get(plant.connection, "et_threads", thread)
    assert (row["owner"], row["operator"], row["epoch"]) == ("human", "lena", 1)
    assert timedelta(minutes=44) < row["auto_release_at"] - datetime.now(UTC) < timedelta(minutes=46)
    assert get(plant.connection, "et_messages", waiting)["delivery_status"] == "inbound_human_takeover"
    (audit,) = audits(plant.connection)
    assert (audit["act"], audit["actor"], audit["note"]) == ("takeover", "lena", "complaint")


def test_a_takeover_for_good_replaces_a_colleague(attached: Shell, plant: Planter) -> None:
    thread = plant.thread(owner="human", operator=HOSTILE, epoch=1)
    done = attached("takeover", str(thread), "--for-good", LOGNAME="lena")
    assert "for good" in done.stdout
    assert "had it before" in done.stdout
    assert not RAW.search(done.stdout)
    assert get(plant.connection, "et_threads", thread)["auto_release_at"] is None
    told = parsed(attached("takeover", str(thread), "--json", LOGNAME="lena"))
    assert told["already_owner"]
    assert told["auto_release_at"], "half an hour by itself"


def test_a_takeover_that_cannot_be_says_so(attached: Shell) -> None:
    assert_one_line(attached("takeover", "999"), 1, "Thread 999 does not exist")
    assert_one_line(attached("takeover", "1", "--minutes", "5", "--for-good"), 2, "--for-good")
    assert attached("takeover", "1", "--minutes", "0").returncode == 2


def test_a_release_leaves_or_answers_what_waits(attached: Shell, plant: Planter) -> None:
    for arguments, status in (((), "inbound_human_takeover"), (("--answer-waiting",), "received")):
        since = datetime.now(UTC) - timedelta(minutes=5)
        thread = plant.thread(owner="human", operator="lena", epoch=1, owner_since=since)
        waiting = plant.inbound(InboundStatus.HUMAN_TAKEOVER, thread_id=thread, reason="takeover.owned")
        done = attached("release", str(thread), *arguments)
        assert done.returncode == 0, done
        assert f"Thread {thread} is the AI's again" in done.stdout
        assert get(plant.connection, "et_threads", thread)["owner"] == "ai"
        assert get(plant.connection, "et_messages", waiting)["delivery_status"] == status
    again = attached("release", str(thread))
    assert (again.returncode, again.stdout) == (0, f"Thread {thread} is the AI's already\n")
    assert len(audits(plant.connection)) == 2
    assert_one_line(attached("release", "999"), 1, "Thread 999 does not exist")


# Explain


def test_explain_tells_why_and_where_the_time_went(attached: Shell, plant: Planter) -> None:
    message = failed(plant, last_error=HOSTILE)
    done = attached("explain", str(message))
    assert done.returncode == 0, done
    sentence, *lines = done.stdout.splitlines()
    assert sentence.startswith("The AI failed to answer it (llm.transient")
    assert lines[0].startswith("What to do: Check its health on Overview")
    for question in ("Why this route? ", "Why so slow? ", "Why so dear? "):
        assert any(line.startswith(question) for line in lines), question
    assert re.search(r"ms  in all, since \d{4}-", lines[-1])
    assert not RAW.search(done.stdout)
    told = parsed(attached("explain", str(message), "--json"))
    assert (told["message_id"], told["why"]) == (message, sentence)
    assert told["reason"] == "llm.transient"
    assert {"route", "slow", "dear"} <= told.keys()
    waiting = attached("explain", str(plant.inbound(InboundStatus.RECEIVED, thread_id=plant.thread())))
    assert re.search(r"waiting +goes on", waiting.stdout)
    assert_one_line(attached("explain", "999"), 1, "There is no message 999")


# Export


def lines_of(done: subprocess.CompletedProcess[str]) -> list[Any]:
    assert done.returncode == 0, done
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def test_messages_are_exported_whole_and_cannot_drive_a_terminal(attached: Shell, plant: Planter) -> None:
    payload = {"from": "ann", "big": 12345678901234567890123, "text": HOSTILE}
    message = failed(
        plant, text_content=HOSTILE, raw_payload=Jsonb(payload), llm_estimated_cost_usd="0.000120"
    )
    done = attached("export", "messages")
    (row,) = lines_of(done)
    assert (row["id"], row["text_content"], row["raw_payload"]) == (message, HOSTILE, payload)
    assert row["llm_estimated_cost_usd"] == 0.00012
    assert datetime.fromisoformat(row["created_at"]).tzinfo
    assert not RAW.search(done.stdout)
    assert done.stderr == "1 messages exported\n"


def test_a_table_has_no_formulas(attached: Shell, plant: Planter) -> None:
    failed(
        plant, text_content='=HYPERLINK("http://evil","x")', last_error="@cmd\nsecond, line", reason=HOSTILE
    )
    done = attached("export", "messages", "--format", "csv")
    assert done.returncode == 0
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert row["text_content"] == '\'=HYPERLINK("http://evil","x")'
    assert row["last_error"] == "'@cmd\nsecond, line"
    assert row["author"] == ""
    assert not RAW.search(done.stdout)
    empty = attached("export", "turns", "--format", "csv")
    assert empty.stdout.startswith("id,tenant_id,thread_id,"), "columns are told even without rows"


def test_an_export_is_narrowed(attached: Shell, plant: Planter) -> None:
    noon = datetime(2026, 3, 14, 12, tzinfo=UTC)
    first = failed(plant, created_at=noon)
    second = failed(plant, created_at=noon + timedelta(hours=1), channel="waha")
    third = plant.inbound(InboundStatus.AI_REPLIED, created_at=noon + timedelta(hours=2))

    def ids(*arguments: str) -> list[int]:
        return [row["id"] for row in lines_of(attached("export", *arguments))]

    assert ids("messages", "--since", "2026-03-14T13:00") == [second, third]
    assert ids("messages", "--until", "2026-03-14T14:00+01:00") == [first]
    assert ids("messages", "--channel", "waha") == [second]
    assert ids("messages", "--status", "inbound_ai_replied") == [third]
    thread = plant.thread(channel="waha")
    turn = {"tenant_id": 1, "message_id": 1, "attempts": Jsonb([{"ok": True}])}
    plant.plant("et_turns", thread_id=plant.thread(), outcome="replied", **turn)
    wanted = plant.plant("et_turns", thread_id=thread, outcome="replied", **turn)
    plant.plant("et_turns", thread_id=thread, outcome="error", **turn)
    assert ids("turns", "--channel", "waha", "--status", "replied") == [wanted]
    assert ids("audit") == []
    attached("takeover", str(thread), "--reason", HOSTILE)
    (act,) = lines_of(attached("export", "audit", "--since", "1h"))
    assert (act["act"], act["note"], act["after"]["owner"]) == ("takeover", HOSTILE, "human")


def test_a_file_is_new_and_private(attached: Shell, plant: Planter) -> None:
    failed(plant)
    target = attached.folder / "out.jsonl"
    done = attached("export", "messages", "--output", "out.jsonl", "--json")
    assert parsed(done) == {"what": "messages", "rows": 1, "file": "out.jsonl"}
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    before = target.read_bytes()
    assert len(before.splitlines()) == 1
    assert_one_line(attached("export", "turns", "-o", "out.jsonl"), 1, "out.jsonl exists", "another name")
    assert target.read_bytes() == before
    (attached.folder / "link").symlink_to(attached.folder / "elsewhere")
    assert_one_line(attached("export", "turns", "-o", "link"), 1, "exists")
    assert_one_line(attached("export", "turns", "-o", "no/such/folder"), 1, "cannot be written")


def test_an_export_that_fails_leaves_no_file(attached: Shell, rows: Connection) -> None:
    rows.execute("ALTER TABLE et_messages DROP COLUMN provider_timestamp")
    done = attached("export", "messages", "-o", "out.jsonl")
    assert_one_line(done, 1, "schema is not ready", "switchboard migrate")
    assert not (attached.folder / "out.jsonl").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(attached: Shell, plant: Planter) -> None:
    failed(plant)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [SWITCHBOARD, "export", "messages"], cwd=attached.folder, env=attached.environment, stdout=full,
            stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_of_an_export_may_leave_early(attached: Shell, plant: Planter) -> None:
    many(plant.connection, 2000, 2000)
    with attached.running("export", "messages") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        assert process.wait(30) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("messages", "--json"),
        ("audit", "--channel", "waha"),
        ("audit", "--status", "replied"),
        ("turns", "--status", "sent"),
        ("turns", "--filter", "bread"),
        ("messages", "--filter", "colour:red"),
    ],
)
def test_an_export_that_cannot_be_meant_is_refused(attached: Shell, arguments: tuple[str, ...]) -> None:
    assert_one_line(attached("export", *arguments), 2, "--")


def many(rows: psycopg.Connection[Any], count: int, size: int) -> None:
    """Messages with ids that have a wide gap."""
    with rows.transaction():
        rows.execute("SET LOCAL session_replication_role = replica")
        rows.execute(
            """INSERT INTO et_messages (id, tenant_id, channel, direction, text_content, delivery_status)
               OVERRIDING SYSTEM VALUE
               SELECT i + CASE WHEN i > 100 THEN 10^12::bigint ELSE 0 END, 1,
                      CASE WHEN i IN (1, %(count)s) THEN 'waha' ELSE 'simulator' END, 'inbound',
                      repeat('x', %(size)s), 'inbound_ai_replied'
                 FROM generate_series(1, %(count)s) i""",
            {"count": count, "size": size},
        )


class Sink(io.RawIOBase):
    """Counts what it is given."""

    taken = 0
    lines = 0

    def write(self, data: Any) -> int:
        self.taken += len(data)
        self.lines += bytes(data).count(b"\n")
        return len(data)


async def test_memory_stays_flat_and_gaps_cost_nothing(dsn: str, rows: Connection) -> None:
    count = PAGE * 20 + 7
    many(rows, count, 10_000)
    assert SPAN < 10**12
    async with pool_at(dsn) as pool:
        sink: Any = Sink()
        tracemalloc.start()
        assert await export(pool, "messages", ExportFilter(), "jsonl", sink) == count
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert sink.lines == count
        assert sink.taken > 40_000_000
        assert peak < 16_000_000
        few: Any = Sink()
        assert await export(pool, "messages", ExportFilter(channel="waha"), "csv", few) == 2
        assert few.lines == 3


async def test_what_a_search_finds_is_exported_and_nothing_else(dsn: str, rows: Connection) -> None:
    many(rows, PAGE * 2 + 3, 4)
    heard: list[tuple[int, int]] = []
    async with pool_at(dsn) as pool:

        async def found(words: str, form: Any = "jsonl", **more: Any) -> list[str]:
            out = BytesIO()
            which = ExportFilter(search=parse_search(words), **more)
            number = await export(pool, "messages", which, form, out, lambda *told: heard.append(told))
            lines = out.getvalue().decode().splitlines()
            assert number == len(lines) - (form == "csv")
            return lines

        assert [json.loads(line)["channel"] for line in await found("channel:waha")] == ["waha"] * 2
        heard.clear()
        everything = [json.loads(line)["id"] for line in await found("status:answered")]
        assert everything == sorted(everything)
        assert len(everything) == PAGE * 2 + 3
        assert heard == [(PAGE, len(everything)), (PAGE * 2, len(everything)), (len(everything),) * 2]
        assert len(await found("status:answered", channel="waha")) == 2, "both hold"
        assert len(await found("tenant:7", "csv")) == 1, "the columns alone"


def test_json_made_safe_keeps_its_value() -> None:
    value = {"k\x9b": HOSTILE + '\U000e0041\ue000\x7f\t\n\\u009b"é漢👩\u200d👧'}
    for indent in (None, 2):
        text = safe_json(json.dumps(value, ensure_ascii=False, indent=indent))
        assert json.loads(text) == value
        assert not RAW.search(text)
        assert "é漢👩" in text


# Service


def test_the_unit_names_this_installation_and_no_secret(attached: Shell) -> None:
    attached.environment["SWITCHBOARD_DATA_DIR"] = str(attached.folder / "my $data 50%")
    done = attached("service", "--workers", "2", DATABASE_URL=f"postgresql://me:{SECRET}@db/shop")
    assert done.returncode == 0, done
    assert SECRET not in done.stdout
    lines = done.stdout.splitlines()
    assert f'ExecStart="{SWITCHBOARD}" engine --workers 2' in lines
    assert f"WorkingDirectory={attached.folder}" in lines
    assert "EnvironmentFile=/etc/switchboard/environment" in lines
    assert f'Environment="SWITCHBOARD_DATA_DIR={attached.folder}/my $data 50%%"' in lines
    for line in ("Restart=on-failure", "NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateTmp=yes"):
        assert line in lines
    assert not list(attached.folder.iterdir()), "nothing is made"


def test_an_embedded_database_is_reached_from_a_unit(shell_without: Shell) -> None:
    (shell_without.folder / ".env").write_text("UNIAPI_API_KEY=x\n")
    (shell_without.folder / "switchboard.toml").write_text("http_port = 8765\n")
    lines = shell_without("service", "--environment-file", "keys").stdout.splitlines()
    assert f"EnvironmentFile=-{shell_without.folder}/keys" in lines
    assert f'Environment="SWITCHBOARD_CONFIG={shell_without.folder}/switchboard.toml"' in lines
    assert "PrivateTmp=yes" not in lines, "consoles share its socket"
    assert_one_line(shell_without("service", SWITCHBOARD_HTTP_PORT="99999"), 2, "SWITCHBOARD_HTTP_PORT")


@pytest.fixture
def shell_without(tmp_path: Path) -> Shell:
    """A shell that names no database."""
    return Shell(tmp_path)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_the_unit(attached: Shell, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("")
    unit = tmp_path / "switchboard.service"
    unit.write_text(attached("service", "--environment-file", str(keys)).stdout)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no", str(unit)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    about = [line for line in done.stderr.splitlines() if "switchboard.service" in line]
    assert about == []


# The database


@pytest.mark.parametrize(
    "command",
    [("replay", "1", "--yes"), ("takeover", "1"), ("release", "1"), ("explain", "1"), ("export", "audit")],
)
def test_an_unreachable_or_unready_database_is_told(
    attached: Shell, command: tuple[str, ...], rows: Connection
) -> None:
    away = f"postgresql://me:{SECRET}@127.0.0.1:{closed_port()}/shop"
    assert_one_line(attached(*command, DATABASE_URL=away), 3, "cannot be reached")
    for table in ("et_audit_log", "et_threads", "et_messages"):
        rows.execute(f"DROP TABLE {table} CASCADE".encode())
    assert_one_line(attached(*command), 1, "switchboard migrate")


def test_a_what_if_asks_runs_and_is_told_again(
    tmp_path: Path, dsn: str, rows: Connection, plant: Planter
) -> None:
    with FarEnd(reply=lambda _: "We open at ten.") as far:
        shell = Shell(tmp_path, DATABASE_URL=url(dsn), UNIAPI_API_KEY="key", UNIAPI_BASE_URL=far.uniapi_url)
        messages = [failed(plant) for _ in range(3)]
        words = ["what-if", "--agent", "1", "--version", "1", "--filter", "status:error"]
        asked = shell(*words)
        assert asked.returncode == 2
        assert "3 messages, the cost cannot be estimated" in asked.stderr
        assert far.uniapi.total == 0

        done = shell(*words, "--yes", "--format", "json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert sorted(result["message_id"] for result in told["results"]) == messages
        assert {result["new"]["text"] for result in told["results"]} == {"We open at ten."}
        assert (told["what_if"]["state"], told["summary"]["verdicts"]["new"]) == ("done", 3)

        again = shell("what-if", "--show", "1", "--format", "csv")
        assert [row["verdict"] for row in csv.DictReader(io.StringIO(again.stdout))] == ["new"] * 3
        assert "version 1  3 of 3" in shell("what-if", "--list").stdout
        assert far.uniapi.total == 3
    assert rows.execute("SELECT count(*) AS n FROM et_outbound_queue").fetchone() == {"n": 0}
    assert shell("what-if").returncode == 2
    refused = shell("what-if", "--agent", "1", "--version", "9", "--filter", "status:error", "--yes")
    assert refused.returncode == 1
    assert "Version 9 of agent 1 does not exist." in refused.stderr


def test_usage_is_added_up_by_what_is_asked_for(attached: Shell, rows: Connection) -> None:
    for model, cost, unpriced in (("m1", 0.5, 0), ("=m2", 0, 2)):
        rows.execute(
            """INSERT INTO et_usage_hourly (hour, tenant_id, agent_id, task, provider, model, turns, unpriced,
                      prompt_tokens, completion_tokens, cost_usd)
               VALUES (date_trunc('hour', now()), 1, 1, 'conversation', 'zai', %s, 2, %s, 10, 5, %s)""",
            [model, unpriced, cost],
        )
    told = attached("usage", "--by", "model", "--json")
    assert [used["name"] for used in json.loads(told.stdout)["used"]] == ["zai m1", "zai =m2"]
    lines = attached("usage", "--by", "model").stdout.splitlines()
    assert "unpriced" in lines[2] and "0.500000" in lines[1]
    assert lines[3].startswith("total") and "! 2 unpriced" in lines[3]
    assert "budget of" in lines[4] and "by the end of the month" in lines[4]
    table = list(csv.DictReader(io.StringIO(attached("usage", "--by", "task", "--csv").stdout)))
    assert table == [
        {"task": "conversation", "turns": "4", "unpriced": "2", "prompt_tokens": "20", "completion_tokens": "10",
         "cost_usd": "0.5"}
    ]  # fmt: skip
    for by in ("day", "hour", "provider", "agent", "tenant"):
        assert attached("usage", "--by", by, "--since", "1d").returncode == 0
    assert attached("usage", "--since", "2026-03-02", "--until", "2026-03-01").returncode == 2
    detail = list(csv.DictReader(io.StringIO(attached("usage", "--csv", "--detail").stdout)))
    assert [(row["model"], row["turns"], row["cost_usd"]) for row in detail] == [
        ("'=m2", "2", ""),
        ("m1", "2", "0.500000"),
    ]
    assert attached("usage", "--detail").returncode == 2


def test_usage_tells_what_has_no_price_and_how_long_the_providers_money_lasts(
    attached: Shell, rows: Connection
) -> None:
    rows.execute(
        """INSERT INTO et_usage_hourly (hour, tenant_id, agent_id, task, provider, model, turns, unpriced, cost_usd)
           VALUES (date_trunc('hour', now()), 1, 1, 'conversation', 'zai', %s, 2, 2, 0)""",
        ["odd\x1b[31m"],
    )
    rows.execute(
        """INSERT INTO et_provider_balances (provider, hour, state, balance_usd, told_at)
           SELECT 'uniapi', date_trunc('hour', now()) - h * interval '1 day', 'told', 40 + 10 * h,
                  now() - h * interval '1 day' FROM generate_series(0, 2) h
           UNION ALL SELECT 'zai', date_trunc('hour', now()), 'untold', NULL, NULL"""
    )
    lines = attached("usage").stdout.splitlines()
    assert any(line.startswith("! 2 turns have no price") and "price_overrides" in line for line in lines)
    assert "provider uniapi: not called; $40.00 left, told just now; $10.00 a day → 4 days" in lines
    assert "provider zai: not called; balance unknown: the provider does not tell it" in lines
    assert not any("\x1b" in line for line in lines)
    told = json.loads(attached("usage", "--json").stdout)
    assert [used["unpriced"] for used in told["unpriced"]] == [2]
    assert [(account["state"], account["balance_usd"]) for account in told["accounts"]] == [
        ("told", 40),
        ("untold", None),
    ]
