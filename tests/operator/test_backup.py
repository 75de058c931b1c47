"""Backup and restore of the embedded database, as processes, judged by what the database holds."""

from __future__ import annotations

import json
import stat
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine.database.archive import sums
from engine.database.migrations import migrate
from engine.settings import load_settings
from engine.supervisor import Database
from tests.support.addresses import url
from tests.test_cli import Shell

ADJUSTED = {"et_audit_log", "et_platform_settings", "et_engines"}


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A shell with an embedded database of its own, which runs as long as the test does."""
    shell = Shell(tmp_path)
    settings = load_settings(data_dir=tmp_path / "data")
    with Database.open(settings) as database:
        assert migrate(database.dsn).ok
        shell.dsn = database.dsn  # type: ignore[attr-defined]
        yield shell


def sql(shell: Any, query: str, *params: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(shell.dsn, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), params or None)
        return cursor.fetchall() if cursor.description else []


def held(shell: Any) -> dict[str, Any]:
    with psycopg.connect(shell.dsn, autocommit=True, options="-c TimeZone=UTC") as connection:
        return {name: table for name, table in sums(connection).items() if name not in ADJUSTED}


def fill(shell: Any, messages: int = 500) -> None:
    sql(
        shell,
        """INSERT INTO et_messages (tenant_id, channel, direction, text_content, raw_payload, delivery_status)
           SELECT 1, 'simulator', 'inbound', 'Grüße ' || n || E' \\t\\\\', jsonb_build_object('from', 'c' || n %% 50),
                  'received' FROM generate_series(1, %s) n""",
        messages,
    )
    sql(
        shell, "INSERT INTO et_notes (thread_id, author, text_content) SELECT id, 'anna', 'n' FROM et_threads"
    )


def test_a_round_trip_brings_back_every_row(shell: Shell, tmp_path: Path) -> None:
    fill(shell)
    before = held(shell)
    file = tmp_path / "a.backup"
    done = shell("backup", str(file), "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["verified"]
    assert told["manifest"]["tables"]["et_messages"] == before["et_messages"].model_dump()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sql(shell, "SELECT act FROM et_audit_log") == [("backup",)]

    refused = shell("restore", str(file))
    assert refused.returncode == 1
    assert "not empty" in refused.stderr
    sql(shell, "UPDATE et_messages SET text_content = 'spoilt'")
    sql(shell, "DELETE FROM et_notes")
    assert held(shell) != before

    done = shell("restore", str(file), "--force")
    assert done.returncode == 0, done.stderr
    assert "500 messages were unanswered" in done.stdout
    assert held(shell) == before
    assert sql(shell, "SELECT value FROM et_platform_settings WHERE key = 'ai_paused'") == [(True,)]
    assert sql(shell, "SELECT act FROM et_audit_log") == [("restore",)]
    assert migrate(shell.dsn).ok  # type: ignore[attr-defined]
    # Identity columns go on after the restored rows.
    (row,) = sql(
        shell, "INSERT INTO et_notes (thread_id, author, text_content) VALUES (1, 'a', 'b') RETURNING id"
    )
    assert row[0] == before["et_notes"].rows + 1
    assert sql(shell, "SELECT datname FROM pg_database WHERE datname LIKE 'switchboard%'") == []


def test_open_sends_of_a_backup_wait_for_a_person(shell: Shell, tmp_path: Path) -> None:
    fill(shell, 1)
    sql(
        shell,
        """WITH m AS (INSERT INTO et_messages (tenant_id, thread_id, channel, direction, delivery_status, author)
                      SELECT 1, 1, 'simulator', 'outbound', 'queued', 'human' FROM generate_series(1, 2) RETURNING id)
           INSERT INTO et_outbound_queue (message_id, tenant_id, thread_id, channel) SELECT id, 1, 1, 'simulator'
             FROM m""",
    )
    file = tmp_path / "a.backup"
    assert shell("backup", str(file)).returncode == 0
    done = shell("restore", str(file), "--force", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["unconfirmed_sends"] == 2
    assert sql(shell, "SELECT status, outcome FROM et_outbound_queue") == [("failed", "unknown")] * 2
    assert (
        sql(shell, "SELECT delivery_status FROM et_messages WHERE direction = 'outbound'")
        == [("failed",)] * 2
    )


def test_a_running_engine_is_backed_up_and_never_restored_under(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "a.backup"
    with shell.running("engine") as process:
        deadline = time.monotonic() + 60
        while not sql(shell, "SELECT 1 FROM et_engines WHERE stopped_at IS NULL"):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert shell("backup", str(file)).returncode == 0
        refused = shell("restore", str(file), "--force")
        assert refused.returncode == 1
        assert "uses the database" in refused.stderr
        process.terminate()
        process.communicate(timeout=30)
    assert shell("restore", str(file), "--force").returncode == 0


def test_a_damaged_file_changes_nothing(shell: Shell, tmp_path: Path) -> None:
    fill(shell, 20)
    before = held(shell)
    file, other = tmp_path / "a.backup", tmp_path / "b.backup"
    assert shell("backup", str(file), "--no-verify").returncode == 0
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    other.write_bytes(content)
    for bad in (other, tmp_path / "none", tmp_path):
        refused = shell("restore", str(bad), "--force")
        assert refused.returncode == 1, refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    assert held(shell) == before
    again = shell("backup", str(file))
    assert again.returncode == 1
    assert "exists" in again.stderr


def test_a_manifest_that_does_not_fit_the_dump_is_found_out(shell: Shell, tmp_path: Path) -> None:
    """What pg_restore brings back is counted, not believed."""
    fill(shell, 20)
    file, folder, forged = tmp_path / "a.backup", tmp_path / "parts", tmp_path / "b.backup"
    assert shell("backup", str(file)).returncode == 0
    with tarfile.open(file) as tar:
        tar.extractall(folder, filter="data")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["tables"]["et_messages"]["checksum"] = "1"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with tarfile.open(forged, "w") as tar:
        for name in ("manifest.json", "database.dump"):
            tar.add(folder / name, name)
    before = held(shell)
    refused = shell("restore", str(forged), "--force")
    assert refused.returncode == 1
    assert "differs from the backup in: et_messages" in refused.stderr
    assert held(shell) == before
    assert sql(shell, "SELECT datname FROM pg_database WHERE datname LIKE 'switchboard%'") == []


def test_a_database_of_ones_own_gets_the_command_to_run(tmp_path: Path, dsn: str) -> None:
    attached = Shell(tmp_path, DATABASE_URL=url(dsn))
    for arguments, program in (
        (("backup", "x"), "pg_dump --format=custom"),
        (("restore", "x"), "pg_restore --clean"),
    ):
        refused = attached(*arguments)
        assert refused.returncode == 1
        assert program in refused.stderr
