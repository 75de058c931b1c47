"""Processes that start at once: forked from one that has already loaded what all of them load first.

Each is a process of its own, with the arguments, environment, folder and files it is given, and ends like any
other. What it is spared is the import of other people's packages, a second on a slow core; the project's own
modules are loaded by each, in the order it asks for them. Some processes are still started from nothing: what a
first import can break, they find.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path

SERVER = Path(__file__).with_name("fork_server.py")
_turn = threading.Lock()


class Fork:
    """A forked process; what `subprocess.Popen` tells of one, without its pipes."""

    def __init__(self, status: int) -> None:
        self._status = status
        self.returncode: int | None = None
        self.pid = self._told(60)

    def _told(self, seconds: float | None) -> int:
        """The next number that its keeper tells. Raises TimeoutError."""
        if not select.select([self._status], [], [], seconds)[0]:
            raise TimeoutError
        told = os.read(self._status, 4)
        assert told, "the process's keeper was killed"
        return int(struct.unpack("i", told)[0])

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, negative for a signal. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            try:
                self.returncode = self._told(timeout)
            except TimeoutError:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0) from None
            os.close(self._status)
        return self.returncode

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


@cache
def _server() -> socket.socket:
    """The way to this process's fork server, which ends when it is closed."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, str(SERVER), str(theirs.fileno())]
        plain = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        server = subprocess.Popen(
            command, pass_fds=[theirs.fileno()], env=plain, stdin=subprocess.DEVNULL, start_new_session=True
        )
    atexit.register(server.wait)
    atexit.register(ours.close)
    return ours


def fork(arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], files: tuple[int, int, int]) -> Fork:
    """Start a script of Python's with these arguments, on these three files."""
    wanted = {"arguments": list(arguments), "cwd": str(cwd), "env": dict(env)}
    body = json.dumps(wanted).encode()
    ours, theirs = os.pipe()
    try:
        with _turn:
            server = _server()
            socket.send_fds(server, [struct.pack("i", len(body))], [*files, theirs])
            server.sendall(body)
    finally:
        os.close(theirs)
    return Fork(ours)


def run(
    arguments: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    typed: str = "",
    stdin: int | None = None,
    timeout: float = 60,
) -> subprocess.CompletedProcess[str]:
    """Run it to its end and keep what it wrote; `typed` comes through a pipe where no `stdin` is given."""
    (given, feed), *told = os.pipe(), os.pipe(), os.pipe()
    theirs = (given if stdin is None else stdin, told[0][1], told[1][1])
    try:
        process = fork(arguments, cwd=cwd, env=env, files=theirs)
    finally:
        for number in (given, *theirs[1:]):
            os.close(number)
    with ThreadPoolExecutor(2) as readers:
        parts = [readers.submit(_whole, ours) for ours, _ in told]
        with suppress(BrokenPipeError), os.fdopen(feed, "w") as pipe:
            pipe.write(typed)
        try:
            process.wait(timeout)
        finally:
            process.kill()
    output, errors = (part.result() for part in parts)
    return subprocess.CompletedProcess(list(arguments), process.wait(), output, errors)


def _whole(number: int) -> str:
    with os.fdopen(number) as pipe:
        return pipe.read()
