"""The command line as a person or a service manager meets it: real processes on real databases."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from engine.demo.far_end import FarEnd
from tests.support import forks
from tests.support.addresses import url
from tests.support.far_ends import telegram
from tests.support.postgres import Server, system_binaries, system_server

SWITCHBOARD = str(Path(sys.executable).with_name("switchboard"))
COMMANDS = (
    *("demo", "engine", "migrate", "doctor", "status", "regression", "inject"),
    *("replay", "takeover", "release", "explain", "export", "service"),
    *("backup", "restore", "erase", "alerts", "retention"),
    *("setup", "serve", "agents", "routing", "drafts"),
)
SECRET = "correct-horse-battery"


class Shell:
    """Runs `switchboard` in a folder and an environment of its own."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "SWITCHBOARD_DATA_DIR": str(folder / "data"),
            "SWITCHBOARD_HTTP_PORT": "0",
            **environment,
        }

    def __call__(
        self, *arguments: str, timeout: float = 60, typed: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end: a process of its own, which did not have to import what all of them do."""
        there = self.environment | environment
        command = [SWITCHBOARD, *arguments]
        return forks.run(command, cwd=self.folder, env=there, typed=typed, timeout=timeout)

    def from_nothing(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it as a shell does."""
        return subprocess.run(
            [SWITCHBOARD, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @contextlib.contextmanager
    def running(self, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [SWITCHBOARD, *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def attached(tmp_path: Path, dsn: str) -> Shell:
    """A shell on a migrated database."""
    return Shell(tmp_path, DATABASE_URL=url(dsn))


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *said: str) -> None:
    """It ended with `code` and one line on stderr, which says this and shows neither traceback nor secret."""
    assert done.returncode == code, done
    (line,) = done.stderr.strip().splitlines()
    for words in said:
        assert words in line
    assert "Traceback" not in done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert line.startswith("switchboard: ")


def parsed(done: subprocess.CompletedProcess[str]) -> Any:
    """What it printed as JSON."""
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Help and usage


def test_help_tells_every_command_and_the_exit_codes(shell: Shell) -> None:
    done = shell.from_nothing("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^  {command}\b", done.stdout, re.MULTILINE)
    assert "Exit codes: 0 fine" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(shell: Shell, command: str) -> None:
    done = shell(command, "--help")
    assert done.returncode == 0
    assert f"Example: switchboard {command}" in done.stdout


def test_help_imports_nothing_slow() -> None:
    slow = (
        "textual",
        "rich",
        "pydantic",
        "sqlalchemy",
        "psycopg",
        "httpx",
        "fastapi",
        "uvicorn",
        "engine.settings",
    )
    code = f"import sys, console.cli; print(*(m for m in {slow!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


def test_version(shell: Shell) -> None:
    assert re.fullmatch(r"switchboard \d+\.\d+\.\d+\n", shell.from_nothing("--version").stdout)


@pytest.mark.parametrize(
    "arguments", [("bogus",), ("status", "--bogus"), ("inject",), ("engine", "--workers", "0")]
)
def test_wrong_usage_ends_with_2(shell: Shell, arguments: tuple[str, ...]) -> None:
    done = shell(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_demonstration_in_json_is_headless(shell: Shell) -> None:
    assert_one_line(shell("demo", "--json"), 2, "--headless")
    assert_one_line(shell("demo"), 2, "needs a terminal", "--headless")


def test_options_of_the_console_do_not_go_with_commands(shell: Shell) -> None:
    assert_one_line(shell("--read-only", "status"), 2, "--read-only", "for the console")


def test_an_engine_that_is_not_there_cannot_survive(shell: Shell) -> None:
    assert_one_line(shell("--no-engine", "--survive-hangup"), 2, "--survive-hangup")
    assert_one_line(shell("--read-only", "--survive-hangup"), 2, "--survive-hangup")


def test_the_console_asks_for_a_terminal(shell: Shell) -> None:
    assert_one_line(shell.from_nothing(), 2, "needs a terminal", "switchboard engine")


# Settings


@pytest.mark.parametrize(
    "command", [("status",), ("engine",), ("migrate",), ("regression",), ("inject", "x")]
)
def test_a_wrong_setting_is_named(shell: Shell, command: tuple[str, ...]) -> None:
    done = shell(*command, SWITCHBOARD_HTTP_PORT="99999")
    assert_one_line(done, 2, "SWITCHBOARD_HTTP_PORT", "less than or equal to 65535", "Correct it")


def test_the_doctor_names_a_wrong_setting_among_its_checks(shell: Shell) -> None:
    done = shell("doctor", "--json", DATABASE_URL=f"mysql://me:{SECRET}@db")
    assert done.returncode == 2
    (check,) = parsed(done)["checks"]
    assert (check["name"], check["state"]) == ("settings", "fail")
    assert "DATABASE_URL" in check["what"]
    assert SECRET not in done.stdout + done.stderr


def test_a_broken_settings_file_is_named(shell: Shell) -> None:
    (shell.folder / "switchboard.toml").write_text("http_port = = 1\n")
    assert_one_line(shell("status"), 2, "switchboard.toml", "Correct the file")


# The database


@pytest.mark.parametrize(
    "command", [("status",), ("engine",), ("migrate",), ("regression",), ("inject", "x")]
)
def test_an_unreachable_database_is_named_with_its_remedy(shell: Shell, command: tuple[str, ...]) -> None:
    port = closed_port()
    done = shell(*command, DATABASE_URL=f"postgresql://me:{SECRET}@127.0.0.1:{port}/shop")
    assert_one_line(done, 3, f"shop at 127.0.0.1:{port}", "cannot be reached", "DATABASE_URL")


def test_the_doctor_goes_on_without_a_database(shell: Shell) -> None:
    done = shell("doctor", "--json", DATABASE_URL=f"postgresql://me:{SECRET}@127.0.0.1:{closed_port()}/shop")
    assert done.returncode == 3
    states = {check["name"]: check["state"] for check in parsed(done)["checks"]}
    assert states["database"] == "fail"
    assert states["schema"] == "skip"
    assert states["UNIAPI_API_KEY"] == "fail"
    assert states["channel simulator/default"] == "ok"
    assert SECRET not in done.stdout + done.stderr


@pytest.fixture(scope="session")
def guarded_server() -> Iterator[Server]:
    """The system's PostgreSQL, asking the user `guest` for a password."""
    if system_binaries() is None:
        pytest.skip("no system PostgreSQL is installed")
    with system_server() as server:
        folder = Path(str(conninfo_to_dict(server.admin_dsn)["host"]))
        server.admin(f"CREATE ROLE guest LOGIN PASSWORD '{SECRET}'")
        rules = "local all guest scram-sha-256\nlocal all all trust\n"
        (folder / "data" / "pg_hba.conf").write_text(rules)
        server.admin("SELECT pg_reload_conf()")
        yield server


def test_a_wrong_password_is_told_and_not_shown(shell: Shell, guarded_server: Server) -> None:
    folder = quote(str(conninfo_to_dict(guarded_server.admin_dsn)["host"]), safe="")
    address = f"@/postgres?host={folder}"
    done = shell("status", DATABASE_URL=f"postgresql://guest:{SECRET}-not{address}")
    assert_one_line(done, 3, "refused the login", "user and password in DATABASE_URL")
    assert shell("status", DATABASE_URL=f"postgresql://guest:{SECRET}{address}").returncode == 1, "not ready"


def test_a_missing_database_or_role_is_told(shell: Shell, dsn: str) -> None:
    there = url(dsn)
    missing = re.sub(r"@/\w+", "@/no_such_db", there)
    assert_one_line(shell("status", DATABASE_URL=missing), 3, "no database no_such_db", "createdb no_such_db")


def test_a_folder_that_cannot_hold_the_data_is_named(shell: Shell) -> None:
    (shell.folder / "file").write_text("")
    below = str(shell.folder / "file" / "data")
    assert_one_line(shell("status", SWITCHBOARD_DATA_DIR=below), 3, below, "SWITCHBOARD_DATA_DIR")
    done = shell("doctor", "--json", SWITCHBOARD_DATA_DIR=below)
    assert done.returncode == 3
    states = {check["name"]: check["state"] for check in parsed(done)["checks"]}
    assert states["data folder"] == "fail"


def test_a_database_that_was_not_migrated_yet_says_what_to_do(shell: Shell, embedded: Server) -> None:
    name = embedded.empty_database()
    address = url(embedded.dsn(name))
    assert_one_line(shell("inject", "hello", DATABASE_URL=address), 1, "schema", "switchboard migrate")
    done = shell("status", DATABASE_URL=address)
    assert done.returncode == 1
    assert "switchboard migrate" in done.stdout
    embedded.drop(name)


def test_migrate_plans_then_runs_then_has_nothing_to_do(shell: Shell, embedded: Server) -> None:
    name = embedded.empty_database()
    address = url(embedded.dsn(name))
    planned = shell("migrate", "--plan", DATABASE_URL=address)
    assert planned.returncode == 0
    assert "CREATE TABLE et_messages" in planned.stdout
    with psycopg.connect(embedded.dsn(name)) as connection:
        assert connection.execute("SELECT to_regclass('et_messages')").fetchone() == (None,)
    run = parsed(shell("migrate", "--json", DATABASE_URL=address))
    assert run["ok"]
    assert [step["status"] for step in run["steps"]] == ["done"] * 6
    again = shell("migrate", DATABASE_URL=address)
    assert again.returncode == 0
    assert "compatible (unchanged" in again.stdout
    embedded.drop(name)


# Status, doctor, inject, regression


def test_status_without_an_engine_is_not_ready(attached: Shell) -> None:
    done = attached.from_nothing("status")
    assert done.returncode == 1
    assert done.stdout.startswith("NOT READY")
    assert "switchboard engine" in done.stdout
    health = parsed(attached("status", "--json"))
    assert [blocker["code"] for blocker in health["blockers"]] == ["engine.none"]


def test_the_doctor_goes_through_the_whole_list(attached: Shell) -> None:
    with FarEnd() as far:
        done = attached("doctor", UNIAPI_API_KEY="key-of-uniapi", UNIAPI_BASE_URL=far.uniapi_url)
        assert done.returncode == 0, done.stdout
        far.uniapi.mode = "401"
        refused = attached("doctor", UNIAPI_API_KEY="key-of-uniapi", UNIAPI_BASE_URL=far.uniapi_url)
    assert refused.returncode == 1
    assert re.search(r"fail +UNIAPI_API_KEY", refused.stdout)
    assert "Set UNIAPI_API_KEY to a valid API key" in refused.stdout
    assert "key-of-uniapi" not in refused.stdout + refused.stderr


def test_inject_stores_what_a_provider_would(attached: Shell, dsn: str) -> None:
    done = attached("inject", "Is it open?\x1b[31m", "--from", "anna")
    assert done.returncode == 0
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT text_content, delivery_status, raw_payload, thread_id IS NOT NULL FROM et_messages"
        ).fetchone()
    assert row == ("Is it open?\x1b[31m", "received", {"from": "anna", "simulated": True}, True)


def test_following_needs_an_engine_and_stores_nothing_without(attached: Shell, dsn: str) -> None:
    assert_one_line(attached("inject", "hello", "--follow"), 1, "No engine is running", "switchboard engine")
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM et_messages").fetchone() == (0,)


def beat(dsn: str, **columns: Any) -> None:
    """A live engine's row, of an engine that does nothing."""
    names = ", ".join(["name", *columns])
    marks = ", ".join(["%s"] * (len(columns) + 1))
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            f"INSERT INTO et_engines ({names}) VALUES ({marks})".encode(), ["x", *columns.values()]
        )


def test_following_ends_in_time_and_says_so(attached: Shell, dsn: str) -> None:
    beat(dsn)
    done = attached("inject", "hello", "--follow", "--timeout", "0.3")
    assert done.returncode == 1
    assert "still on its way" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_leaves_quietly(attached: Shell, dsn: str, number: signal.Signals) -> None:
    beat(dsn)
    with attached.running("inject", "hello", "--follow") as process:
        assert process.stdout is not None
        assert "stored" in process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 128 + number
    assert errors == ""


def test_regression_with_a_stand_in_passes_and_says_what_it_was(attached: Shell, dsn: str) -> None:
    done = attached("regression", "--stand-in", "--json")
    run = parsed(done)
    assert done.returncode == 0, run
    assert [step["ok"] for step in run["steps"]] == [True] * 6
    assert "stand-in" in run["far_end"]
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT channel, raw_payload->>'simulated' FROM et_messages WHERE direction = 'inbound'"
        ).fetchall()
    assert row == [("simulator", "true")]


def test_a_stand_in_never_answers_real_conversations(attached: Shell, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO et_threads (tenant_id, channel, address) VALUES (1, 'waha', '49')")
    for arguments in (("--stand-in",), ()):
        done = attached("regression", *arguments)
        assert_one_line(done, 1, "real conversations (waha)", "UNIAPI_API_KEY")
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM et_messages").fetchone() == (0,)


def test_regression_fails_where_the_provider_does(attached: Shell) -> None:
    with FarEnd() as far:
        far.uniapi.mode = "500"
        done = attached(
            "regression",
            "--json",
            UNIAPI_API_KEY="key-of-uniapi",
            UNIAPI_BASE_URL=far.uniapi_url,
            SWITCHBOARD_TURN_DEADLINE_SECONDS="2",
            SWITCHBOARD_MAX_ATTEMPTS="1",
        )
    assert done.returncode == 1
    steps = parsed(done)["steps"]
    failed = [step for step in steps if not step["ok"]]
    assert failed
    assert all(step["detail"] == "not run" for step in failed[1:])


# A whole installation


def test_an_engine_serves_until_it_is_told_to_stop(attached: Shell, dsn: str) -> None:
    with FarEnd() as far:
        attached.environment |= {"UNIAPI_API_KEY": "key-of-uniapi", "UNIAPI_BASE_URL": far.uniapi_url}
        with attached.running("engine") as process:
            deadline = time.monotonic() + 30
            while (done := attached("status")).returncode != 0:
                assert time.monotonic() < deadline, done.stdout
                assert process.poll() is None
            assert done.stdout.startswith("READY")
            followed = attached("inject", "Are you open on Sunday?", "--from", "ben", "--follow")
            assert followed.returncode == 0, followed.stdout
            assert re.search(r"inbound_ai_replied[\s\S]* sent[\s\S]*reply ", followed.stdout)
            passed = attached("regression")
            assert passed.returncode == 0, passed.stdout
            assert "through the running engine" in passed.stdout
            assert_one_line(attached("regression", "--stand-in"), 1, "An engine is running")
            process.send_signal(signal.SIGTERM)
            _, logs = process.communicate(timeout=30)
    assert process.returncode == 0
    assert all(json.loads(line)["level"] for line in logs.splitlines()), "JSON logs"
    assert "key-of-uniapi" not in logs
    assert attached("status").returncode == 1


def test_a_headless_demonstration_needs_nothing_and_judges_itself(shell: Shell) -> None:
    done = shell("demo", "--headless", "--messages", "3", "--json", SWITCHBOARD_HTTP_PORT="99999")
    assert done.returncode == 0, done
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert records[-1]["type"] == "summary"
    assert records[-1]["ok"]
    assert sum(record["type"] == "trip" for record in records) == 3
    assert all(record["simulated"] for record in records)


def test_a_reader_who_leaves_early_sees_no_traceback(attached: Shell) -> None:
    with attached.running("status") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.wait(30)


def test_a_port_that_is_taken_is_named(attached: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = attached("engine", SWITCHBOARD_HTTP_PORT=port)
        doctor = attached("doctor", "--json", SWITCHBOARD_HTTP_PORT=port)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"switchboard: Port {port} is taken" in done.stderr.splitlines()[-1]
    assert "SWITCHBOARD_HTTP_PORT" in done.stderr.splitlines()[-1]
    (check,) = [check for check in parsed(doctor)["checks"] if check["name"] == "http port"]
    assert check["state"] == "fail"


def test_without_a_url_the_embedded_database_is_used(shell: Shell) -> None:
    done = shell.from_nothing("migrate")
    assert done.returncode == 0
    assert "compatible (changed" in done.stdout
    health = parsed(shell("status", "--json"))
    assert health["schema_compatibility"]["compatible"]
    assert str(shell.folder) in health["database"]["where"]


def test_setup_reads_answers_from_standard_input_tries_and_keeps_them(shell: Shell) -> None:
    with telegram.TelegramService() as bot:
        file = shell.folder / ".config" / "switchboard" / "switchboard.toml"
        listed = shell("setup")
        assert (listed.returncode, "○ telegram" in listed.stdout) == (0, True)
        answers = f"bot_token={telegram.TOKEN}\napi_base={bot.base_url}\n"
        wrong = shell("setup", "telegram", typed=answers.replace("123456:", "9:"))
        assert wrong.returncode == 1
        assert "→" in wrong.stdout
        assert "Nothing was kept" in wrong.stdout
        assert not file.exists()
        kept = shell("setup", "telegram", typed=answers)
        assert kept.returncode == 0, kept.stderr
        assert "@shop_bot" in kept.stdout
        assert file.stat().st_mode & 0o777 == 0o600
        assert telegram.TOKEN in file.read_text()
        assert telegram.TOKEN not in kept.stdout + kept.stderr + wrong.stdout + wrong.stderr
        assert "✓ telegram" in shell("setup").stdout
    down = shell("setup", "telegram", "--yes", typed=answers)
    assert down.returncode == 1, "kept, but it does not work"
    for part, given in (("pigeon", ""), ("waha", "key"), ("telegram", "bot_token=x")):
        assert shell("setup", part, typed=given).returncode in (1, 2)
