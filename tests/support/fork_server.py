"""Loads what commands import from elsewhere, and forks a process for each request; see forks.py."""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

LOADED = (
    *("asyncio", "httpx", "platformdirs", "psutil", "psycopg", "psycopg_pool"),
    *("pydantic", "pydantic_settings", "structlog", "typer.main"),
)
"""What nearly every command imports from elsewhere."""


def serve(channel: socket.socket) -> dict[str, Any]:
    """Fork for each request until the other end is closed; returns in each fork, with its request."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    while True:
        head, files, _, _ = socket.recv_fds(channel, 4, 4)
        if not head:
            os._exit(0)
        body = b""
        while len(body) < struct.unpack("i", head)[0]:
            body += channel.recv(struct.unpack("i", head)[0] - len(body))
        if os.fork() == 0:
            channel.close()
            return keep(json.loads(body), files)
        for number in files:
            os.close(number)


def keep(wanted: dict[str, Any], files: list[int]) -> dict[str, Any]:
    """Fork the process itself, and tell its number, and how it ended, when it has."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *standard, status = files
    pid = os.fork()
    if pid:
        for number in (0, 1, 2, *standard):
            os.close(number)
        os.write(status, struct.pack("i", pid))
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(status, struct.pack("i", code))
        os._exit(0)
    for number, target in zip(standard, (0, 1, 2), strict=True):
        os.dup2(number, target)
    for number in files:
        os.close(number)
    return wanted


def become(wanted: dict[str, Any]) -> None:
    """Be the process that was asked for."""
    os.chdir(wanted["cwd"])
    os.environ.clear()
    os.environ.update(wanted["env"])
    time.tzset()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=stream is sys.stderr or os.isatty(1))  # type: ignore[union-attr]
    program, *rest = wanted["arguments"]
    sys.argv, sys.path[0] = [program, *rest], str(Path(program).parent)
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    # Each fork goes on from here: it ends as any program does, with all that is done then.
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        for name in LOADED:
            importlib.import_module(name)
        gc.freeze()
        wanted = serve(channel)
    become(wanted)
