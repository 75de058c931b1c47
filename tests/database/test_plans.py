"""No statement reads history: what each does to the tables is counted by PostgreSQL itself, triggers included.

Everything runs as the engine and the console run it, on a database with a long past, a hot conversation and work
in progress, in a transaction that is rolled back; once planned for its values and once for any.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, NamedTuple, cast

import psycopg
import pytest

from engine.channels.base import Inbound, Receipt, ReceiptStatus
from engine.database.connection import Connection, Pool, connect
from engine.inbound import claims, resolver
from engine.inbound.claims import Claim, Completion
from engine.inbound.intake import store_inbound
from engine.model import OutboundStatus, Outcome, TurnKind, TurnOutcome
from engine.observe.views import find_thread
from engine.operator import outbound, replay, reply, takeover
from engine.operator.audit import Operator
from engine.outbound import queue, receipts
from engine.outbound.queue import Send, SendResult
from engine.runtime.agent_runtime import TurnResult
from tests.bench.growth import looks, open_work
from tests.bench.past import plant
from tests.support.postgres import Server

MESSAGES, THREADS, HOT, BACKLOG, ACTS = 60_000, 20_000, 900, 2_000, 20_000
ENGINE = "e"
ANNA = Operator("anna", "desk")
GROWING = ("et_messages", "et_outbound_queue", "et_turns", "et_threads", "et_leads", "et_audit_log")
MOST = 6_000
"""Rows of the growing tables that anything may touch; a tenth of the messages."""
#: Those that are meant to look at more: a search looks at a stretch of history at a time, as long as it takes.
SEARCHES = {"page of a rare text": 3 * MESSAGES}
#: Statements that are put together for a search, and so never prepared for any other.
UNPREPARED = {"open messages", "page of messages", "page of errors", "page of a thread", *SEARCHES}


@dataclass
class Stage:
    """The database, and what an engine holds in it."""

    dsn: str
    turns: list[Claim] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)


@pytest.fixture(scope="module")
def stage(embedded: Server) -> Iterator[Stage]:
    name = embedded.migrated_database()
    with psycopg.connect(embedded.dsn(name), autocommit=True) as connection:
        plant(connection, MESSAGES, threads=THREADS)
        open_work(connection)
        connection.execute(
            "INSERT INTO et_messages (tenant_id, lead_id, channel, direction, text_content, delivery_status)"
            " SELECT 1, %s, 'whatsapp', 'inbound', 'once more ' || n, 'received' FROM generate_series(1, %s) n",
            [HOT, BACKLOG],
        )
        connection.execute(
            "INSERT INTO et_audit_log (at, actor, act, subject)"
            " SELECT now() - n * interval '1 min', 'anna', 'reply', 'thread:' || n FROM generate_series(1, %s) n",
            [ACTS],
        )
        connection.execute("VACUUM ANALYZE")
    found = Stage(embedded.dsn(name))
    asyncio.run(_hold(found))
    yield found
    embedded.drop(name)


async def _hold(stage: Stage) -> None:
    async with await connect(stage.dsn) as c:
        stage.turns = await claims.claim_turns(c, engine=ENGINE, threads=40, lease_seconds=600, burst=1)
        stage.sends = await queue.claim_sends(c, engine=ENGINE, sends=30, lease_seconds=600, paused=[])


class OneConnection:
    """A pool that lends the same connection to everybody."""

    def __init__(self, connection: Connection, conninfo: str) -> None:
        self._connection = connection
        self.conninfo = conninfo

    @asynccontextmanager
    async def connection(self, timeout: float | None = None) -> AsyncIterator[Connection]:
        yield self._connection


class Case(NamedTuple):
    """Something that is done, and how many rows it may touch."""

    name: str
    work: Callable[[Pool, Connection, Stage], Awaitable[Any]]
    most: int = MOST


def _completion(claim: Claim) -> Completion:
    result = TurnResult(TurnOutcome.REPLIED, text="an answer", started_at=claim.claimed_at)
    return Completion(
        claim=claim,
        result=result,
        kind=TurnKind.REPLAY,
        agent_id=1,
        agent_version=1,
        simulated=False,
        restartable=False,
        wasted=None,
        retry_seconds=5.0,
    )


def _result(send: Send) -> SendResult:
    return SendResult(
        send.queue_id, send.token, OutboundStatus.SENT, Outcome.CONFIRMED, f"id-{send.queue_id}"
    )


async def _arrive(connection: Connection, *addresses: str) -> None:
    messages = [
        Inbound(
            account="default", address=address, provider_message_id=f"new-{address}", text="hello", raw={}
        )
        for address in addresses
    ]
    assert await store_inbound(connection, tenant_id=1, channel="whatsapp", messages=messages) == len(
        messages
    )


async def _rescue(connection: Connection, stage: Stage) -> None:
    threads = [claim.thread_id for claim in stage.turns]
    await connection.execute(
        "UPDATE et_threads SET lease_until = now() - interval '1 s' WHERE id = ANY (%s)", [threads]
    )
    assert len(await claims.rescue_turns(connection, max_attempts=5)) == len(threads)


async def _receive(connection: Connection) -> None:
    told = [
        Receipt(account="default", provider_message_id=f"wamid.out.{k}", status=ReceiptStatus.READ)
        for k in range(100, 20_000, 1_000)
    ]
    assert await receipts.apply_receipts(connection, "whatsapp", told) == len(told)


async def _lead_of(pool: Pool, connection: Connection, stage: Stage) -> None:
    address = "+420999999999"
    await _arrive(connection, address)
    found = await connection.execute(
        "SELECT id FROM et_threads WHERE address = %s AND id > %s", [address, THREADS]
    )
    (row,) = await found.fetchall()
    claim = replace(
        stage.turns[0],
        thread_id=row["id"],
        lead_id=None,
        lead_tenant_id=None,
        sender=address,
        address=address,
    )
    assert (await resolver.resolve_lead(pool, claim)).lead_id


async def _insert_plainly(connection: Connection) -> None:
    await connection.execute(
        "INSERT INTO et_messages (tenant_id, lead_id, channel, direction, text_content, delivery_status)"
        " VALUES (1, 7, 'whatsapp', 'inbound', 'hello', 'received')"
    )


ENGINE_CASES = [
    Case(
        "claim turns",
        lambda p, c, s: claims.claim_turns(c, engine="f", threads=50, lease_seconds=60, burst=20),
    ),
    Case("complete turns", lambda p, c, s: claims.complete_turns(c, ENGINE, [*map(_completion, s.turns)])),
    Case("extend a turn", lambda p, c, s: claims.extend_turn(c, engine=ENGINE, claim=s.turns[0])),
    Case(
        "renew turns", lambda p, c, s: claims.renew_turns(c, engine=ENGINE, claims=s.turns, lease_seconds=60)
    ),
    Case("release turns", lambda p, c, s: claims.release_turns(c, engine=ENGINE, claims=s.turns)),
    Case("rescue turns", lambda p, c, s: _rescue(c, s)),
    Case("sweep mailboxes", lambda p, c, s: claims.sweep_mailboxes(c), 3 * BACKLOG + MOST),
    Case("defer the oldest", lambda p, c, s: claims.defer_oldest(c, 60), 100),
    Case("next due", lambda p, c, s: claims.seconds_to_next_due(c), 100),
    Case(
        "reserve a budget",
        lambda p, c, s: claims.reserve_budget(p, s.turns[0], Decimal("0.05"), Decimal(5)),
        500,
    ),
    Case("find a lead", lambda p, c, s: _lead_of(p, c, s)),
    Case(
        "store arrivals", lambda p, c, s: _arrive(c, "+420000000007", "+420000000008", "+420111111111"), 200
    ),
    Case("insert a row", lambda p, c, s: _insert_plainly(c), 50),
    Case(
        "claim sends",
        lambda p, c, s: queue.claim_sends(c, engine="f", sends=32, lease_seconds=60, paused=["x/y"]),
    ),
    Case("start sends", lambda p, c, s: queue.start_sends(c, ENGINE, s.sends)),
    Case("record sends", lambda p, c, s: queue.record_sends(c, [*map(_result, s.sends)])),
    Case("postpone sends", lambda p, c, s: queue.postpone_sends(c, ENGINE, s.sends, [5.0] * len(s.sends))),
    Case("release sends", lambda p, c, s: queue.release_sends(c, engine=ENGINE, sends=s.sends)),
    Case("rescue sends", lambda p, c, s: queue.rescue_sends(c)),
    Case("promote retries", lambda p, c, s: queue.promote_retries(c), 100),
    Case("next send", lambda p, c, s: queue.seconds_to_next_send(c), 10),
    Case("receipts", lambda p, c, s: _receive(c)),
    Case("receipts that waited", lambda p, c, s: receipts.apply_pending_receipts(p)),
    Case("threads to hand back", lambda p, c, s: takeover.release_due(p)),
    Case("take a thread over", lambda p, c, s: takeover.take_over(p, ANNA, HOT), 5 * BACKLOG),
    Case("give a thread back", lambda p, c, s: takeover.release(p, ANNA, 410, answer_waiting=True)),
    Case("replay", lambda p, c, s: replay.requeue(p, ANNA, [2 * 252 + 1])),
    Case("send again", lambda p, c, s: outbound.retry_send(p, ANNA, 30_125, resend=True)),
    Case("mark as sent", lambda p, c, s: outbound.mark_sent(p, ANNA, 30_125)),
    Case("reply", lambda p, c, s: reply.send_reply(p, ANNA, 410, "a person's words")),
    Case("find by number", lambda p, c, s: find_thread(p, "+42 0000000077"), 50),
    Case("find by name", lambda p, c, s: find_thread(p, "nobody of this name")),
]
PANE_CASES = [
    Case(look.name, lambda p, c, s, look=look: look.work(p, c), SEARCHES.get(look.name, 3 * MOST))
    for look in looks(MESSAGES)
]
_COUNT = """
SELECT relname, coalesce(seq_scan, 0) AS scans, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) AS rows
  FROM pg_stat_xact_user_tables WHERE relname = ANY (%s)
"""


@pytest.mark.xdist_group("plans")
@pytest.mark.parametrize(
    ("case", "plan"),
    [
        pytest.param(case, plan, id=f"{case.name}, {plan}")
        for case in ENGINE_CASES + PANE_CASES
        for plan in ("auto", "force_generic_plan")
        if plan == "auto" or case.name not in UNPREPARED
    ],
)
async def test_nothing_reads_history(stage: Stage, case: Case, plan: str) -> None:
    async with await connect(stage.dsn) as connection:
        await connection.execute(f"SET plan_cache_mode = {plan}".encode())
        await connection.execute("BEGIN")
        pool = cast("Pool", OneConnection(connection, stage.dsn))
        await case.work(pool, connection, stage)
        await connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        counted = await (await connection.execute(_COUNT, [list(GROWING)])).fetchall()
        await connection.execute("ROLLBACK")
    assert not {row["relname"]: row["rows"] for row in counted if row["scans"]}
    assert sum(row["rows"] for row in counted) <= case.most
