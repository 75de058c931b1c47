"""The console on a real terminal: foreign text stays text, and every way out gives the terminal back."""

from __future__ import annotations

import re
import signal
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.console.poison import poison
from tests.support.consoles import as_url
from tests.support.seed import Seed
from tests.support.terminal import SEQUENCE, Terminal, assert_given_back, engine_of, stopped_at

Opener = Callable[..., Terminal]

FORBIDDEN = (
    b"7777h",
    b"7777l",
    b"7777m",
    b"\x1b]52",
    b"\x1bP",
    b"\x9b",
    b"\xc2\x9b",
    "\u202e".encode(),
    "\u2066".encode(),
    "\u200b".encode(),
    b"\x08",
    b"\x0c",
)


@pytest.fixture
def terminal(dsn: str, seed: Seed, tmp_path: Path) -> Opener:
    url = as_url(dsn).get_secret_value()
    return lambda **more: Terminal(url, tmp_path, **more)


def assert_harmless(output: bytes) -> None:
    """No control of foreign origin is among what was written."""
    own = output.replace(b"\x1b[>25u", b"")
    text = SEQUENCE.sub(b"", own)
    stray = re.search(rb"[\x00-\x06\x08\x0b\x0c\x0e-\x1f\x7f]", text)
    assert stray is None, text[max(0, stray.start() - 80) : stray.end() + 80]
    for sequence in FORBIDDEN:
        payload = output.find(sequence)
        if sequence in (
            b"7777h",
            b"7777l",
            b"7777m",
        ):  # as text they are harmless: what matters is an ESC before
            assert re.search(rb"\x1b\[[0-9;]*" + sequence, output) is None
            continue
        if sequence == b"\x9b":  # also the last byte of harmless characters
            assert re.search(rb"(?<![\x80-\xff])\x9b", output) is None
            continue
        assert payload < 0, output[max(0, payload - 80) : payload + 80]


@pytest.mark.parametrize(
    "leak",
    [
        "\x1b[7777h",
        "\x1b[1;7777m",
        "\x1b]52;c;x\x07",
        "\x9b1m",
        "\u202e",
        "\u200b",
        "\x08",
        "\x1b",
        "\x1b]0;title\x07",
    ],
)
def test_the_check_for_controls_can_fail(leak: str) -> None:
    assert_harmless("\x1b[1;1H\x1b[38;2;1;2;3mfine 李 é\r\n".encode())
    with pytest.raises(AssertionError):
        assert_harmless(f"fine {leak} fine".encode())


@pytest.mark.parametrize("size", [(140, 40), (80, 24)])
def test_hostile_text_in_every_field_writes_no_control_to_the_terminal(
    terminal: Opener, seed: Seed, dsn: str, size: tuple[int, int]
) -> None:
    poison(dsn)
    with terminal(size=size) as screen:
        screen.await_text("Passing through")
        screen.await_text("[7777hESC")
        screen.type("3")
        screen.await_text("following")
        screen.type("kk\r")
        screen.await_text("Where the time went")
        for expected in ("ai_trace", '"task": "\\u001b', "markup[/b]"):
            screen.type("]")
            screen.await_text(expected)
        for field in "/:":  # the filter, and where one jumps to
            screen.type(field)
            time.sleep(0.3)
            screen.type("\x1b[200~" + "\x1b]52;c;x pasted\x1b[7777h" + "\x1b[201~")
            screen.await_text("x pasted")
            screen.type("\r")
            time.sleep(0.5)
        screen.type("\x1b")
        screen.type("?")
        screen.await_text("filters, e.g.")
        for area in "245678":
            screen.type(area)
            time.sleep(1.0)
        screen.type("1")
        time.sleep(0.5)
        assert screen.process.poll() is None
        assert "markup[/b]" in screen.written()
        assert_harmless(screen.output)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT])
def test_a_signal_ends_it_within_five_seconds_and_gives_the_terminal_back(
    terminal: Opener, number: signal.Signals
) -> None:
    with terminal() as screen:
        screen.await_text("Passing through")
        assert screen.attributes() != screen.before
        began = time.monotonic()
        screen.send(number)
        assert screen.wait(5) == 128 + number
        assert time.monotonic() - began < 5
        assert_given_back(screen)


def test_a_signal_ends_it_even_when_the_terminal_takes_no_bytes(terminal: Opener) -> None:
    with terminal() as screen:
        screen.await_text("Passing through")
        screen.draining.clear()
        for _ in range(60):  # more screens than the pty and the console's own queue hold
            screen.type("31")
        time.sleep(1)
        screen.send(signal.SIGTERM)
        assert screen.wait(6) == 128 + signal.SIGTERM
        assert screen.attributes()[3] & termios.ICANON
        screen.draining.set()
        assert_given_back(screen)


@pytest.mark.parametrize("controlling", [True, False], ids=["told", "untold"])
def test_a_lost_terminal_ends_it_and_drains_the_engine(
    terminal: Opener, rows: Any, controlling: bool
) -> None:
    with terminal(engine=True, controlling=controlling) as screen:
        name = engine_of(rows)
        screen.hang_up()
        assert screen.wait(6) == 128 + signal.SIGHUP
        assert stopped_at(rows, name) is not None


@pytest.mark.parametrize("controlling", [True, False], ids=["told", "untold"])
def test_an_engine_that_is_to_survive_goes_on_without_its_terminal(
    terminal: Opener, rows: Any, controlling: bool
) -> None:
    with terminal(engine=True, survive=True, controlling=controlling) as screen:
        name = engine_of(rows)
        screen.await_text("Passing through")
        screen.hang_up()
        time.sleep(6)
        assert screen.process.poll() is None
        assert stopped_at(rows, name) is None
        beat = "SELECT heartbeat_at > now() - interval '5 seconds' AS fresh FROM et_engines WHERE name = %s"
        assert rows.execute(beat, [name]).fetchone()["fresh"]
        screen.send(signal.SIGTERM)
        assert screen.wait(6) == 128 + signal.SIGTERM
        assert stopped_at(rows, name) is not None


def test_leaving_by_key_restores_the_terminal(terminal: Opener) -> None:
    with terminal() as screen:
        screen.await_text("Passing through")
        screen.type("q")
        assert screen.wait(5) == 0
        assert_given_back(screen)


def test_the_first_paint_comes_before_the_database_is_reached(terminal: Opener, tmp_path: Path) -> None:
    with Terminal("postgresql://nobody@203.0.113.1/none", tmp_path) as screen:
        screen.await_text("reaching the database")
        screen.await_text("Overview")
        screen.type("3")
        screen.await_text("Filter")


def test_nothing_is_written_while_nothing_changes(terminal: Opener, dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection, connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        for table in ("et_outbound_queue", "et_messages"):  # ages of waiting work are shown, so none waits
            connection.execute(f"DELETE FROM {table}".encode())
        connection.execute(
            "UPDATE et_threads SET owner = 'ai', due_at = NULL, holder = NULL, lease_until = NULL"
        )
    with terminal() as screen:
        screen.await_text("No message has come yet.")
        time.sleep(3)
        quiet: list[Any] = []
        for _ in range(3):  # one of them may see the minute turn
            before = len(screen.output)
            time.sleep(4)
            quiet.append(len(screen.output) - before)
        assert sorted(quiet)[:2] == [0, 0], quiet
