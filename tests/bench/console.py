"""What the console costs, attached to a seeded database in a real terminal of 140x40.

    python -m tests.bench console

Beside it a Textual program that says hello is measured the same way: the floor of the machine.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb

from tests.bench.bench import tell
from tests.bench.engine_process import EngineProcess, clean_environment
from tests.bench.messages import Ground, percentile, plant_backlog
from tests.bench.past import INBOUND, RAW
from tests.bench.producer import INSERT, THREADS
from tests.bench.server import measured_server, process_cpu, process_rss
from tests.bench.table import Figure, machine, table
from tests.support.terminal import SEQUENCE

SIZE = (140, 40)
MESSAGES = 100_000
BACKLOG = 40_000
SETTLE_SECONDS = 5.0
PATIENCE = 30.0
KEY_SECONDS = 2.0
"""A key whose frame has not come by then counts as taking this long."""
HELLO_PAINT = 0.18
"""Seconds of hello world's first paint on the machine that the goals were set on."""
FIRST, LISTED = "Overview", "appointment"
"""What the first paint shows, and what a message in the list does."""
CONSOLE = [sys.executable, "-c", "from console.main import main; main()", "--no-engine"]
HELLO = [
    sys.executable,
    "-c",
    "from textual.app import App\n"
    "from textual.widgets import Static\n"
    "class Hello(App):\n"
    "    def compose(self):\n"
    "        yield Static('Overview')\n"
    "Hello().run()",
]


class Timed:
    """A program in a pseudo-terminal; every byte that it writes is kept with its time."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
        self._chunks: list[tuple[float, bytes]] = []
        self._came = threading.Condition()
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            cwd=tempfile.gettempdir(),
            start_new_session=True,
        )
        os.close(slave)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._master, 65_536)
            except OSError:  # the program has ended
                return
            if not chunk:
                return
            with self._came:
                self._chunks.append((time.perf_counter(), chunk))
                self._came.notify_all()

    @property
    def mark(self) -> int:
        """How much has been written so far, for `since`."""
        return len(self._chunks)

    def since(self, mark: int) -> bytes:
        return b"".join(chunk for _, chunk in self._chunks[mark:])

    def press(self, key: str) -> float:
        """Press a key; when."""
        at = time.perf_counter()
        os.write(self._master, key.encode())
        return at

    def await_text(self, text: str, mark: int = 0) -> float:
        """When `text` was written after `mark`. Raises TimeoutError."""
        until = time.perf_counter() + PATIENCE
        with self._came:
            while text.encode() not in SEQUENCE.sub(b"", self.since(mark)):
                if time.perf_counter() > until or self.process.poll() is not None:
                    raise TimeoutError(f"{text!r} was not shown: {self.since(mark)[-2000:]!r}")
                self._came.wait(0.5)
            return self._chunks[-1][0]

    def frame(self, key: str) -> float:
        """Seconds from a key to the first bytes after it; a refresh that falls between is taken for its frame."""
        mark = self.mark
        at = self.press(key)
        with self._came:
            if self._came.wait_for(lambda: len(self._chunks) > mark, KEY_SECONDS):
                return self._chunks[mark][0] - at
        return KEY_SECONDS

    def watch(self, seconds: float) -> tuple[float, float]:
        """Bytes a second and percent of a core, of the next `seconds`."""
        mark, cpu, began = self.mark, process_cpu(self.process.pid), time.perf_counter()
        time.sleep(seconds)
        taken = time.perf_counter() - began
        used = process_cpu(self.process.pid) - cpu
        return len(self.since(mark)) / taken, 100 * used / taken

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


def main(argv: list[str]) -> int:
    """Measure and print; 0 when every goal is met."""
    chosen = _parser().parse_args(argv)
    with measured_server(chosen.dsn) as server, tempfile.TemporaryDirectory() as folder:
        about = machine(server.version)
        tell(f"{about}\nplanting {MESSAGES:,} messages")
        ground = Ground(server, messages=MESSAGES)
        try:
            with ground.database() as name:
                environment = _environment(server.dsn(name), Path(folder))
                figures = _starts(environment, chosen.runs)
                figures += _at_work(server.dsn(name), environment, chosen.seconds)
        finally:
            ground.close()
            server.drop_template()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    sys.stdout.write(f"{about}\nTerminal {SIZE[0]}x{SIZE[1]}; load {load}.\n\n{table(figures)}\n")
    return 0 if all(figure.met is not False for figure in figures) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.console", description=main.__doc__)
    parser.add_argument("--runs", type=int, default=7, metavar="N", help="starts, after one that warms (7)")
    parser.add_argument("--seconds", type=float, default=15.0, metavar="S", help="each watch lasts (15)")
    parser.add_argument("--dsn", help="a PostgreSQL to measure on, as its superuser; else one is started")
    return parser


def _environment(dsn: str, folder: Path) -> dict[str, str]:
    """As of an installed program: its bytecode is compiled once, wherever this machine would have it."""
    unwanted = ("PYTHONDONTWRITEBYTECODE", "NO_COLOR", "TMUX")
    kept = {name: value for name, value in clean_environment().items() if name not in unwanted}
    return kept | {
        "DATABASE_URL": _url(dsn),
        "SWITCHBOARD_DATA_DIR": str(folder),
        "PYTHONPYCACHEPREFIX": str(folder / "bytecode"),
        "TERM": "xterm-256color",
        "COLORTERM": "truecolor",
        "LANG": "C.UTF-8",
    }


def _url(dsn: str) -> str:
    """A libpq conninfo as the URL that settings take."""
    parts = {name: quote(str(value), safe="") for name, value in conninfo_to_dict(dsn).items()}
    who = f"{parts['user']}:{parts['password']}" if "password" in parts else parts["user"]
    return f"postgresql://{who}@/{parts['dbname']}?host={parts['host']}&port={parts.get('port', 5432)}"


def _starts(environment: dict[str, str], runs: int) -> list[Figure]:
    """First paint, of the console and the floor in turn."""
    paints: dict[str, list[float]] = {"console": [], "hello": []}
    costs: dict[str, list[float]] = {"console": [], "hello": []}
    for run in range(runs + 1):
        for what, command in (("console", CONSOLE), ("hello", HELLO)):
            with Timed(command, environment) as program:
                painted = program.await_text(FIRST) - program.began
                cost = process_cpu(program.process.pid)
                if run == 0:
                    time.sleep(SETTLE_SECONDS)  # what it imports later is compiled, too
                    if what == "console":
                        program.press("3")
                        time.sleep(SETTLE_SECONDS)
                    continue
            paints[what].append(painted)
            costs[what].append(cost)
            tell(f"{what} {run}/{runs}: painted after {painted:.3f} s, {cost:.2f} s of CPU")
    return [
        Figure("start", "first paint", paints["console"], "s", most=0.40),
        Figure("start", "CPU to paint", costs["console"], "s", most=0.35),
        Figure("start", "first paint, hello world", paints["hello"], "s"),
        Figure("start", "CPU to paint, hello world", costs["hello"], "s"),
        Figure("start", "first paint, of hello world", _ratios(paints), "×", most=0.40 / HELLO_PAINT),
        Figure("start", "CPU to paint, of hello world", _ratios(costs), "×", most=0.35 / HELLO_PAINT),
    ]


def _ratios(values: dict[str, list[float]]) -> list[float]:
    return [own / floor for own, floor in zip(values["console"], values["hello"], strict=True)]


def _at_work(dsn: str, environment: dict[str, str], seconds: float) -> list[Figure]:
    """One console, while an engine rests, answers a message a second, and works flat out."""
    with Timed(HELLO, environment) as hello:
        hello.await_text(FIRST)
        time.sleep(SETTLE_SECONDS)
        floor = hello.watch(seconds)[1]
    with _engine(dsn), psycopg.connect(dsn, autocommit=True) as db, Timed(CONSOLE, environment) as console:
        console.await_text(FIRST)
        time.sleep(SETTLE_SECONDS)
        idle = console.watch(seconds)
        tell(f"idle: {idle[0]:.0f} B/s, {idle[1]:.2f} % of a core")
        mark = console.mark
        opened = -console.press("3") + console.await_text(LISTED, mark)
        rss = process_rss(console.process.pid)
        tell(f"{MESSAGES:,} messages opened in {opened:.3f} s; {rss:.0f} MiB")
        console.press("1")
        db.execute("UPDATE et_platform_settings SET value = 'false' WHERE key = 'ai_paused'")
        with _trickle(dsn):
            time.sleep(SETTLE_SECONDS)
            live = console.watch(seconds)
        tell(f"live: {live[0]:.0f} B/s, {live[1]:.2f} % of a core")
        plant_backlog(db, BACKLOG)
        console.press("3")
        time.sleep(2.0)
        mark, began = console.mark, time.perf_counter()
        keys = _keys(console, seconds)
        rate = len(console.since(mark)) / (time.perf_counter() - began)
        if not _waiting(db):
            tell(f"the engine ran out of work: {BACKLOG:,} messages are too few for {seconds:.0f} s")
    return [
        Figure("idle", "written", [idle[0]], "B/s", most=0),
        Figure("idle", "CPU", [idle[1]], "%", most=0.3),
        Figure("idle", "CPU, hello world", [floor], "%"),
        Figure("live", "written, a message a second on Overview", [live[0]], "B/s", most=2000),
        Figure("live", "CPU", [live[1]], "%", most=2),
        Figure("keys", "key → frame p50, engine flat out", [percentile(keys, 50)], "ms"),
        Figure("keys", "key → frame p95, engine flat out", [percentile(keys, 95)], "ms", most=30),
        Figure("keys", "written, a key each 0.1 s", [rate], "B/s"),
        Figure("open", f"{MESSAGES:,} messages", [opened], "s", most=0.1),
        Figure("memory", "RSS, attached", [rss], "MiB", most=80),
    ]


def _keys(console: Timed, seconds: float) -> list[float]:
    """Milliseconds from key to frame, down and up the list."""
    until = time.perf_counter() + seconds
    taken: list[float] = []
    while time.perf_counter() < until:
        taken.append(console.frame("jk"[len(taken) % 2]) * 1000)
        time.sleep(0.1)
    return taken


def _waiting(db: psycopg.Connection[Any]) -> bool:
    row = db.execute("SELECT EXISTS (SELECT FROM et_messages WHERE delivery_status = 'received')").fetchone()
    return bool(row and row[0])


@contextmanager
def _engine(dsn: str) -> Iterator[EngineProcess]:
    engine = EngineProcess(dsn)
    try:
        engine.wait_ready()
        yield engine
    finally:
        engine.kill()


@contextmanager
def _trickle(dsn: str) -> Iterator[None]:
    """A message a second comes in meanwhile."""
    ended = threading.Event()

    def insert() -> None:
        raw = Jsonb(RAW)
        with psycopg.connect(dsn, autocommit=True) as db, psycopg.RawCursor(db) as cursor:
            number = 0
            while not ended.wait(1.0):
                number += 1
                cursor.execute(INSERT, [number % THREADS + 1, INBOUND % (10**6 + number), raw])

    inserting = threading.Thread(target=insert)
    inserting.start()
    try:
        yield
    finally:
        ended.set()
        inserting.join()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
