"""cost: what a message costs PostgreSQL, and how much of it each promise is.

The statements of a message's trip (claim, complete, record), batch after batch on one connection, as the
engine runs them: first as they are, then each time without one thing. CPU is that of the one backend, by the
scheduler's count of nanoseconds, so that it holds on a machine that others use too; beside it the bytes of
write-ahead log, and the CPU of Python for the same statements.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from engine.database import connection as database
from engine.database.connection import Connection, conninfo
from engine.inbound import claims
from engine.inbound.claims import Claim, Completion
from engine.model import AITrace, LLMAttempt, LLMResult, OutboundStatus, Outcome, TurnKind, TurnOutcome, Usage
from engine.outbound import queue
from engine.outbound.queue import SendResult
from engine.runtime.agent_runtime import TurnResult
from engine.runtime.policy import Verdict
from engine.sends import Send, Words
from tests.bench.bench import Bench
from tests.bench.messages import plant_backlog
from tests.bench.past import REPLY, RULES
from tests.bench.table import Figure
from tests.faults.mutations import Edit, edit_statements

MESSAGES = 2000
BATCH = 100
ENGINE = "bench"
USAGE = Usage(prompt_tokens=123, completion_tokens=45, total_tokens=168)


@dataclass(frozen=True)
class Without:
    """One thing that is taken away."""

    name: str
    sql: str = ""
    """Run on the database before."""
    edits: tuple[Edit, ...] = ()
    apart: bool = False
    """Not without anything: sends are marked in a commit of their own, as those are that something holds back."""


_NO_TURN_RECORD = Edit(
    "complete_turns",
    "WHERE v.result <> 'superseded' AND NOT v.written\n),\nconsented",
    "WHERE false\n),\nconsented",
)
_NO_USAGE = Edit("complete_turns", "AND d.provider IS NOT NULL", "AND false")
_NO_TRACE = Edit("complete_turns", "'outbound', d.text, d.raw_payload,", "'outbound', d.text, NULL,")
_NO_HISTORY = Edit("claim_turns", "ORDER BY id DESC LIMIT $5", "ORDER BY id DESC LIMIT ($5 * 0)")
_TRIGGERS = (
    "DROP TRIGGER et_messages_status ON et_messages;"
    "DROP TRIGGER et_outbound_queue_status ON et_outbound_queue;"
)
_CHECKS = (
    "ALTER TABLE et_messages DROP CONSTRAINT et_messages_lease;"
    "ALTER TABLE et_outbound_queue DROP CONSTRAINT et_outbound_queue_lease,"
    " DROP CONSTRAINT et_outbound_queue_outcome; ALTER TABLE et_threads DROP CONSTRAINT et_threads_owner;"
)
_SEARCH = "DROP INDEX IF EXISTS et_messages_words, et_messages_pieces;"
_PANES = (
    "DROP INDEX et_threads_recent, et_threads_labelled, et_threads_assigned, et_threads_snoozed,"
    " et_threads_paused, et_threads_human, et_messages_trouble, et_messages_unconfirmed, et_turns_notable,"
    " et_outbound_queue_failures, et_outbound_queue_accepted, et_outbound_queue_parts;"
)
# What keeps an update of a message from staying on its page with no new index entry (HOT).
_STATUS = _SEARCH + (
    "DROP INDEX et_messages_open, et_messages_one_turn, et_messages_unconfirmed, et_messages_trouble;"
)
_KEYS = "DROP INDEX et_messages_once, et_messages_one_turn;"
VARIANTS = (
    Without("as it is"),
    Without("the history of the conversation", edits=(_NO_HISTORY,)),
    Without("the turn record", edits=(_NO_TURN_RECORD,)),
    Without("the trace in raw_payload", edits=(_NO_TRACE,)),
    Without("the hourly sum of usage", edits=(_NO_USAGE,)),
    Without("the check that a reply is there", "DROP TRIGGER et_messages_reply_exists ON et_messages;"),
    Without("the status machine's triggers", _TRIGGERS),
    Without("the CHECK constraints", _CHECKS),
    Without("unique keys of provider's id and of the turn", _KEYS),
    Without("the search index", _SEARCH),
    Without("the indexes of panes", _PANES),
    Without("the search index and every other one that knows a message's status", _STATUS),
    Without("a mark in a commit of its own", apart=True),
    Without(
        "all of these",
        "DROP TRIGGER et_messages_reply_exists ON et_messages;"
        + _TRIGGERS
        + _CHECKS
        + _KEYS
        + _SEARCH
        + _PANES,
        (_NO_HISTORY, _NO_TURN_RECORD, _NO_USAGE, _NO_TRACE),
    ),
)


@dataclass
class Spent:
    """A message's share."""

    server_us: float
    python_us: float
    wal_bytes: float


class Everything:
    """Takes every reply at once, as a dispatcher with room does."""

    lease_seconds = 60.0
    paused: Collection[str] = ()

    def room(self) -> int:
        return BATCH

    def leaves_at_once(self, words: Words) -> bool:
        return True

    def take(self, send: Send, claimed: float) -> None:
        raise AssertionError("the batch is sent by whoever completed it")


def cost(bench: Bench) -> list[Figure]:
    """Microseconds and bytes a message, and what each thing adds to them."""
    whole: Spent | None = None
    figures = []
    for variant in VARIANTS:
        found = [_measure(bench, variant) for _ in range(bench.repetitions)]
        spent = min(found, key=lambda one: one.server_us)  # what disturbs only ever adds
        bench.note("cost", {"without": variant.name, **spent.__dict__})
        bench.tell(
            f"cost, {variant.name}: PostgreSQL {spent.server_us:.0f} µs, Python {spent.python_us:.0f} µs,"
            f" {spent.wal_bytes:,.0f} bytes of log"
        )
        if whole is None:
            whole = spent
            figures.append(Figure("cost", "PostgreSQL, one backend", [spent.server_us], "µs"))
            figures.append(Figure("cost", "Python, statements alone", [spent.python_us], "µs"))
            figures.append(Figure("cost", "write-ahead log", [spent.wal_bytes], "B"))
            continue
        share = 100 * (whole.server_us - spent.server_us) / whole.server_us
        log = 100 * (whole.wal_bytes - spent.wal_bytes) / whole.wal_bytes
        of = f"of it {variant.name} (of the log {log:.0f} %)"
        more = f"added by {variant.name} (to the log {-log:.0f} %)"
        figures.append(
            Figure("cost", more if variant.apart else of, [-share if variant.apart else share], "%")
        )
    return figures


def _measure(bench: Bench, variant: Without) -> Spent:
    with bench.ground.database() as name:
        with psycopg.connect(bench.server.dsn(name), autocommit=True) as plain:
            plant_backlog(plain, MESSAGES + 2 * BATCH)
            if variant.sql:
                plain.execute(variant.sql.encode())
        with _edited(variant.edits):
            return asyncio.run(_run(bench.server.dsn(name), variant))


@contextmanager
def _edited(edits: tuple[Edit, ...]) -> Iterator[None]:
    original = database.statement
    edit_statements(edits)
    try:
        yield
    finally:
        database.statement = original


async def _run(dsn: str, variant: Without) -> Spent:
    connection: Connection = await AsyncConnection.connect(
        conninfo(dsn, "bench", by_index=True), autocommit=True, row_factory=dict_row
    )
    async with connection:
        pid = connection.info.backend_pid
        for _ in range(2):  # plans are made, pages are warm
            await _batch(connection, variant)
        log, server, python = await _log(connection), _on_cpu(pid), time.process_time_ns()
        for _ in range(MESSAGES // BATCH):
            await _batch(connection, variant)
        python, server = time.process_time_ns() - python, _on_cpu(pid) - server
        written = await _log(connection) - log
    return Spent(server / MESSAGES / 1000, python / MESSAGES / 1000, written / MESSAGES)


async def _batch(connection: Connection, variant: Without) -> None:
    """A hundred messages on their whole way."""
    claimed = await claims.claim_turns(connection, engine=ENGINE, threads=BATCH, lease_seconds=60.0, burst=1)
    assert len(claimed) == BATCH
    done = await claims.complete_turns(connection, ENGINE, [_completion(c) for c in claimed], Everything())
    sends = [ended.send for ended in done if ended is not None and ended.send is not None]
    assert len(sends) == BATCH
    assert all(send.started for send in sends)
    if variant.apart:
        assert all(await queue.start_sends(connection, ENGINE, sends))
    results = [
        SendResult(
            send.queue_id,
            send.token,
            OutboundStatus.SENT,
            Outcome.CONFIRMED,
            provider_message_id=f"wamid.{send.queue_id}",
        )
        for send in sends
    ]
    assert all(await queue.record_sends(connection, results))


def _completion(claim: Claim) -> Completion:
    now = datetime.now(UTC)
    attempt = LLMAttempt(
        provider="uniapi",
        model="gemini-3-flash-preview",
        started_at=now,
        latency_ms=1180,
        ok=True,
        http_status=200,
        finish_reason="stop",
        request_id="req-0123456789",
        usage=USAGE,
    )
    llm = LLMResult(
        text=REPLY,
        provider="uniapi",
        model="gemini-3-flash-preview",
        usage=USAGE,
        cost_usd=Decimal("0.000123"),
        attempts=[attempt],
    )
    result = TurnResult(
        TurnOutcome.REPLIED,
        text=REPLY,
        llm=llm,
        trace=AITrace(
            task="conversation", provider="uniapi", model=llm.model or "", usage=USAGE, recorded_at=now
        ),
        verdicts=[Verdict(rule=rule, stage="before", verdict="pass") for rule in RULES],
        started_at=claim.claimed_at,
        context_at=now,
        answered_at=now,
    )
    return Completion(
        claim=claim,
        result=result,
        kind=TurnKind.LIVE,
        agent_id=1,
        agent_version=1,
        simulated=False,
        restartable=False,
        wasted=None,
        retry_seconds=5.0,
    )


async def _log(connection: AsyncConnection[Any]) -> int:
    row = await (
        await connection.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint AS at")
    ).fetchone()
    assert row is not None
    return int(row["at"])


def _on_cpu(pid: int) -> int:
    """Nanoseconds that a process has run."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0])
