"""A console in a real pseudo-terminal: what is typed goes in as bytes, and every byte it writes is kept."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import Any, Self

PROGRAM = """
import sys
from console.main import open_console
{before}
sys.exit(open_console(no_engine={attached}, read_only={read_only}, survive_hangup={survive}))
"""
SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>]|\]22;[a-z]*\x07)")
"""A whole escape sequence of a kind that a terminal application writes."""


class Terminal:
    """Runs a console; leaving the `with` block ends it and closes the terminal."""

    def __init__(
        self,
        url: str,
        folder: Path,
        *,
        size: tuple[int, int] = (140, 40),
        engine: bool = False,
        survive: bool = False,
        read_only: bool = False,
        controlling: bool = True,
        before: str = "",
        environment: dict[str, str] | None = None,
    ) -> None:
        """`before`: source run in the console's process before it starts, to plant an error.

        Without `controlling`, no signal tells the process that the terminal was closed.
        """
        self._master, self._slave = pty.openpty()
        columns, rows = size
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(self._slave)
        self.output = b""
        self.draining = threading.Event()
        self.draining.set()
        variables = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TMUX")}
        variables |= {
            "DATABASE_URL": url,
            "SWITCHBOARD_DATA_DIR": str(folder),
            "SWITCHBOARD_HTTP_ENABLED": "false",
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
            "LANG": "C.UTF-8",
        }
        variables |= environment or {}
        program = PROGRAM.format(attached=not engine, read_only=read_only, survive=survive, before=before)
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env=variables,
            cwd=Path(__file__).parents[2],
            preexec_fn=_own_terminal if controlling else os.setsid,
        )
        threading.Thread(target=self._drain, daemon=True).start()

    def _drain(self) -> None:
        while True:
            self.draining.wait()
            try:
                chunk = os.read(self._master, 65_536)
            except OSError as error:
                if error.errno in (errno.EIO, errno.EBADF):
                    return
                raise
            if not chunk:
                return
            self.output += chunk

    def type(self, keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            os.write(self._master, key.encode())
            time.sleep(0.05)

    def await_text(self, text: str, seconds: float = 30.0) -> None:
        """Wait until a text was written, escape sequences aside."""
        deadline = time.monotonic() + seconds
        while text not in self.written():
            assert self.process.poll() is None, (
                f"ended with {self.process.returncode}: {self.written()[-2000:]}"
            )
            assert time.monotonic() < deadline, f"{text!r} did not come: {self.written()[-3000:]}"
            time.sleep(0.05)

    def written(self) -> str:
        """All that was written, less the escape sequences."""
        return SEQUENCE.sub(b"", self.output).decode("utf-8", "replace")

    def attributes(self) -> Any:
        """The terminal's settings now."""
        return termios.tcgetattr(self._slave)

    def hang_up(self) -> None:
        """Close the terminal, as a lost SSH connection does."""
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """The exit code. Raises TimeoutExpired when it does not end in time."""
        return self.process.wait(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.draining.set()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for descriptor in (self._slave, self._master):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _own_terminal() -> None:
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def assert_given_back(screen: Terminal) -> None:
    """The terminal is as it was: its settings, its main screen, its cursor."""
    deadline = time.monotonic() + 5  # what the pty still holds is read by and by
    while modes_left(screen.output) != {b"25"} and time.monotonic() < deadline:
        time.sleep(0.05)
    assert screen.attributes()[:4] == screen.before[:4]
    assert modes_left(screen.output) == {b"25"}, screen.output[-300:]
    assert screen.output.count(b"\x1b[<u") >= min(1, screen.output.count(b"\x1b[>25u"))


def modes_left(output: bytes) -> set[bytes]:
    """The terminal's modes that are on in the end: alternate screen, mouse, bracketed paste, focus, cursor, …"""
    last = {}
    for modes, switch in re.findall(rb"\x1b\[\?([0-9;]+)([hl])", output):
        last |= dict.fromkeys(modes.split(b";"), switch)
    return {mode for mode, switch in last.items() if switch == b"h"} - {b"7"}


def engine_of(rows: Any) -> str:
    """The name of the engine that has just started."""
    deadline = time.monotonic() + 30
    query = "SELECT name FROM et_engines WHERE stopped_at IS NULL AND name <> 'engine-a'"
    while not (found := rows.execute(query).fetchone()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return str(found["name"])


def stopped_at(rows: Any, name: str) -> Any:
    return rows.execute("SELECT stopped_at FROM et_engines WHERE name = %s", [name]).fetchone()["stopped_at"]
