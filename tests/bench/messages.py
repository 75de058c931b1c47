"""drain, full, trickle: messages on their whole way, with an LLM and a channel that answer at once.

    drain     a backlog lies there when the engine begins: first claim to last send recorded
    full      messages come in, one a transaction on four connections: first insert to last send recorded
    trickle   200 messages at 50 a second: from before each insert to its reply's send recorded

The engine keeps its whole contract: guards, leases, fence, policy, turn record, trace. CPU is that of the engine,
of whoever inserts, and of the whole database server.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.bench.engine_process import EngineProcess, EngineRecord
from tests.bench.past import INBOUND, RAW, plant
from tests.bench.producer import INSERT, THREADS, Producer
from tests.bench.server import Measured, busy_seconds, process_cpu

HISTORY = 20
WARM_UP = 200
TRICKLE = 200
TRICKLE_RATE = 50.0


@dataclass
class Passage:
    """How fast messages got through."""

    messages: int
    seconds: float
    cpu_us: float
    """Microseconds of CPU a message, all in all."""
    engine_us: float
    server_us: float
    foreign: float
    """Share of the machine that somebody else used meanwhile; above 0.2 the figures tell of them."""

    @property
    def rate(self) -> float:
        return self.messages / self.seconds


class Ground:
    """Databases with a past (2,000 conversations of 20 messages), ready for an engine that waits for its start."""

    def __init__(
        self, server: Measured, *, messages: int = THREADS * HISTORY, threads: int = THREADS
    ) -> None:
        self._server = server
        self._template = server.migrated_database()
        with self.connect(self._template) as connection:
            connection.execute(
                "INSERT INTO et_platform_settings (key, value) VALUES ('quiet_window', %s), ('ai_paused', 'true')",
                [json.dumps({"seconds": 0, "max_seconds": 0})],
            )
            plant(connection, messages, threads=threads)

    def connect(self, name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self._server.dsn(name), autocommit=True)

    @contextmanager
    def database(self) -> Iterator[str]:
        """The name of a fresh copy, dropped afterwards."""
        name = self._server.copy(self._template)
        try:
            yield name
        finally:
            self._server.drop(name)

    def close(self) -> None:
        self._server.drop(self._template)


class Run:
    """Engines on one fresh database, and what they used."""

    def __init__(self, server: Measured, name: str, config: dict[str, Any], engines: int = 1) -> None:
        self.server, self.name, self.dsn = server, name, server.dsn(name)
        self.connection = psycopg.connect(self.dsn, autocommit=True)
        self.engines: list[EngineProcess] = []
        self._config, self._count = config, engines

    def start(self) -> None:
        """Bring the engines up; they wait for `go`."""
        self.engines = [EngineProcess(self.dsn, **self._config) for _ in range(self._count)]
        for engine in self.engines:
            engine.wait_ready()

    def go(self) -> None:
        """Meters to zero, and the kill switch off."""
        self.meter()
        self.connection.execute("UPDATE et_platform_settings SET value = 'false' WHERE key = 'ai_paused'")

    def meter(self) -> None:
        self._began = time.time()
        self._busy, self._server_cpu, self._engine_cpu = (
            busy_seconds(),
            self.server.cpu_seconds(),
            self._engines(),
        )

    def _engines(self) -> float:
        return sum(process_cpu(engine.pid) for engine in self.engines)

    def last_id(self) -> int:
        return int(self.value("SELECT coalesce(max(id), 0) FROM et_outbound_queue"))

    def value(self, sql: str, *params: Any) -> Any:
        row = self.connection.execute(sql.encode(), params).fetchone()
        assert row is not None
        return row[0]

    def wait_sent(self, after: int, messages: int, seconds: float = 120.0) -> None:
        """Until so many sends above queue id `after` are recorded. Raises TimeoutError."""
        until = time.time() + seconds
        while True:
            sql = "SELECT count(*) FROM et_outbound_queue WHERE id > %s AND status = 'sent'"
            if (sent := self.value(sql, after)) >= messages:
                return
            if time.time() > until:
                raise TimeoutError(f"{sent} of {messages} messages were sent in {seconds:.0f} s")
            time.sleep(0.1)

    def used(self, messages: int, seconds: float, others: float = 0.0) -> Passage:
        """Figures since the meters were set; `others` is CPU of processes that brought messages."""
        wall = time.time() - self._began
        server, engine = self.server.cpu_seconds() - self._server_cpu, self._engines() - self._engine_cpu
        foreign = busy_seconds() - self._busy - server - engine - others
        each = 1e6 / messages
        return Passage(
            messages,
            seconds,
            (server + engine + others) * each,
            engine * each,
            server * each,
            max(0.0, foreign / (wall * cores())),
        )

    def finish(self, expected: int) -> EngineRecord:
        """The engines' records as one. Raises RuntimeError when they do not account for every message."""
        whole = EngineRecord()
        for engine in self.engines:
            record = engine.finish()
            whole.sent |= record.sent
            whole.gaps += record.gaps
        if len(whole.sent) < expected:
            raise RuntimeError(f"{expected} messages were sent, but {len(whole.sent)} sends were noted")
        return whole

    def close(self) -> None:
        for engine in self.engines:
            engine.kill()
        self.connection.close()


@contextmanager
def running(server: Measured, ground: Ground, config: dict[str, Any], engines: int = 1) -> Iterator[Run]:
    """Engines to be, on a fresh database."""
    with ground.database() as name:
        run = Run(server, name, config, engines)
        try:
            yield run
        finally:
            run.close()


def drain(
    server: Measured, ground: Ground, config: dict[str, Any], messages: int, engines: int = 1
) -> Passage:
    """A backlog of so many messages, from the first claim on."""
    with running(server, ground, config, engines) as run:
        plant_backlog(run.connection, messages)
        run.start()
        after = run.last_id()
        run.go()
        run.wait_sent(after, messages)
        first = run.value(
            "SELECT extract(epoch FROM min(claimed_at))::float FROM et_messages WHERE id >"
            " (SELECT max(message_id) FROM et_outbound_queue WHERE id <= %s)",
            after,
        )
        passage = run.used(messages, 1.0)
        passage.seconds = max(run.finish(messages).sent.values()) - first
        return passage


def plant_backlog(connection: psycopg.Connection[Any], messages: int) -> None:
    """So many messages that nobody has answered yet."""
    threads = connection.execute("SELECT count(*) FROM et_threads").fetchone()
    assert threads is not None
    connection.execute(
        "INSERT INTO et_messages (tenant_id, lead_id, channel, direction, text_content, raw_payload,"
        " delivery_status) SELECT 1, n %% %s + 1, 'whatsapp', 'inbound', format(%s, n), %s, 'received'"
        " FROM generate_series(1, %s) n",
        [threads[0], INBOUND, json.dumps(RAW), messages],
    )
    connection.execute("ANALYZE")
    connection.execute("CHECKPOINT")


def full(server: Measured, ground: Ground, config: dict[str, Any], messages: int) -> Passage:
    """Messages that come in while they are answered, from the first insert on."""
    with running(server, ground, config) as run:
        run.start()
        after = run.last_id()
        run.go()
        Producer(run.dsn, WARM_UP).run()
        run.wait_sent(after, WARM_UP)
        run.connection.execute("ANALYZE")
        producer = Producer(run.dsn, messages)
        run.meter()
        produced = producer.run()
        run.wait_sent(after, WARM_UP + messages)
        passage = run.used(messages, 1.0, produced.cpu)
        passage.seconds = max(run.finish(messages).sent.values()) - produced.began
        return passage


def trickle(server: Measured, ground: Ground, config: dict[str, Any], messages: int = TRICKLE) -> list[float]:
    """Milliseconds from insert to sent, each."""
    with running(server, ground, config) as run:
        run.start()
        after = run.last_id()
        run.go()
        with psycopg.RawCursor(run.connection) as cursor:
            began = _feed(cursor, 30, 0.01)
            run.wait_sent(after, len(began))
            run.connection.execute("ANALYZE")
            time.sleep(0.5)
            began = _feed(cursor, messages, 1 / TRICKLE_RATE)
            run.wait_sent(after, 30 + messages)
        heads = run.connection.execute(
            "SELECT q.id, m.in_reply_to FROM et_outbound_queue q JOIN et_messages m ON m.id = q.message_id"
            " WHERE q.id > %s",
            [after],
        ).fetchall()
        sent = run.finish(messages).sent
        return [(sent[queue_id] - began[head]) * 1000 for queue_id, head in heads if head in began]


def _feed(cursor: psycopg.RawCursor[Any], messages: int, apart: float) -> dict[int, float]:
    """Insert messages at an even pace; when each insert began, by message id."""
    began: dict[int, float] = {}
    due, raw = time.perf_counter(), json.dumps(RAW)
    for number in range(messages):
        due += apart
        time.sleep(max(0.0, due - time.perf_counter()))
        at = time.time()
        cursor.execute(INSERT, [number % THREADS + 1, INBOUND % (10**6 + number), raw], prepare=True)
        row = cursor.fetchone()
        assert row is not None
        began[row[0]] = at
    return began


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank; `share` from 0 to 100."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, math.ceil(share / 100 * len(ranked)) - 1))]


def cores() -> int:
    import os

    return os.cpu_count() or 1
