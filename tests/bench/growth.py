"""growth: every claim and every pane's query on a short past and on a long one; `--sizes 10000,5000000`.

A claim is measured as the engine makes it, prepared, in a transaction that is rolled back. A pane is measured as the
console reads it, through `engine.observe`, Python's part included. A little work is always open: messages that came,
sends that are due, sends that failed. The pasts are measured in turn, so that a slow minute of the machine falls on
both; the pages that PostgreSQL looked at are counted, which no slow minute changes.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg

from engine.database.connection import Connection, Pool, fetch, open_pool
from tests.bench.bench import Bench
from tests.bench.messages import percentile
from tests.bench.past import plant
from tests.bench.table import Figure

RUNS = 25
"""Of one look on one past, in each repetition."""
LENGTH = 20
"""Messages of a conversation, however many there are."""
WARM = 5
SECONDS_EACH = 4.0
RATIO = 1.2
#: Milliseconds that no pane may take longer, whatever the past.
LIMITS = {
    "overview": 30.0,
    "open messages": 30.0,
    "page of messages": 20.0,
    "system health": 20.0,
    "inbox": 30.0,
    "outbound": 30.0,
}
#: Below this, in milliseconds, a ratio is the clock's and not the plan's.
NOISE_MS = 0.3


class Look(NamedTuple):
    """Something to measure."""

    name: str
    work: Callable[[Pool, Connection], Awaitable[Any]]
    writes: bool = False
    even: bool = True
    """It finds as many rows on a short past as on a long one, so that the two compare; else only its limit counts."""


class Taken(NamedTuple):
    """What one look cost on one past, in one repetition."""

    times: list[float]
    """Milliseconds a run."""
    pages: float
    """Pages of 8 kB looked at a run, wherever they were."""

    @property
    def p50(self) -> float:
        return percentile(self.times, 50)


def growth(bench: Bench) -> list[Figure]:
    """Milliseconds on the longest past, and against the shortest."""
    names: dict[int, str] = {}
    try:
        for size in bench.sizes:
            names[size] = bench.server.migrated_database()
            with psycopg.connect(bench.server.dsn(names[size]), autocommit=True) as connection:
                fill(bench, connection, size)
        taken = asyncio.run(_measure(bench, {size: bench.server.dsn(name) for size, name in names.items()}))
    finally:
        for name in names.values():
            bench.server.drop(name)
    bench.note("growth", taken)
    return [figure for look in looks(min(bench.sizes)) for figure in _figures(look, taken[look.name])]


def _figures(look: Look, by_size: dict[int, list[Taken]]) -> list[Figure]:
    """A look's time on the longest past, and that time and its pages against the shortest."""
    short, long = by_size[min(by_size)], by_size[max(by_size)]
    times = [ms for taken in long for ms in taken.times]
    name = f"{look.name}, {max(by_size):,} messages"
    figures = [Figure("growth", name, times, "ms", most=LIMITS.get(look.name))]
    if len(by_size) > 1:
        ratios = [after.p50 / before.p50 for before, after in zip(short, long, strict=True)]
        more = statistics.median(after.p50 - before.p50 for before, after in zip(short, long, strict=True))
        pages = " of ".join(f"{statistics.median(t.pages for t in taken):,.0f}" for taken in (long, short))
        goal = RATIO if look.even and more > NOISE_MS else None
        figures.append(
            Figure("growth", f"{look.name}, of {min(by_size):,}; pages {pages}", ratios, "×", most=goal)
        )
    return figures


def fill(bench: Bench, connection: psycopg.Connection[Any], size: int) -> None:
    """A past of so many messages, and a little work of now."""
    began = time.monotonic()
    told = 0

    def tell(rows: int) -> None:
        nonlocal told
        if rows - told >= 1_000_000 or rows >= size:
            told = rows
            bench.tell(f"growth: {rows:,} of {size:,} messages planted")

    plant(connection, size, threads=max(500, size // LENGTH), tell=tell)
    open_work(connection)
    connection.execute("VACUUM ANALYZE")
    connection.execute("CHECKPOINT")
    size_mib = connection.execute("SELECT pg_database_size(current_database()) / 2^20").fetchone()
    assert size_mib is not None
    bench.tell(
        f"growth: {size:,} messages are {size_mib[0]:,.0f} MiB, made in {time.monotonic() - began:.0f} s"
    )


def open_work(connection: psycopg.Connection[Any]) -> None:
    """100 messages that came, 100 sends due, 20 to retry, 5 unknown, 50 conversations of a person."""
    connection.execute(
        "INSERT INTO et_platform_settings (key, value) VALUES ('quiet_window', '{\"seconds\": 0}')"
    )
    connection.execute(
        "INSERT INTO et_messages (tenant_id, lead_id, channel, direction, text_content, delivery_status)"
        " SELECT 1, n, 'whatsapp', 'inbound', 'Are you open on day ' || n || '?', 'received'"
        " FROM generate_series(1, 100) n"
    )
    connection.execute(
        """WITH said AS (
               INSERT INTO et_messages (tenant_id, lead_id, thread_id, channel, direction, author, text_content,
                      delivery_status)
               SELECT 1, n, n, 'whatsapp', 'outbound', 'human', 'a reply', CASE WHEN n <= 300 THEN 'queued'
                      WHEN n <= 320 THEN 'retry_scheduled' ELSE 'failed' END FROM generate_series(201, 325) n
            RETURNING id, thread_id, delivery_status)
           INSERT INTO et_outbound_queue (message_id, tenant_id, thread_id, channel, author, status, outcome,
                  next_attempt_at, finished_at)
           SELECT id, 1, thread_id, 'whatsapp', 'human', delivery_status,
                  CASE delivery_status WHEN 'failed' THEN 'unknown' END,
                  now() + CASE delivery_status WHEN 'retry_scheduled' THEN interval '1 hour' ELSE '0' END,
                  CASE delivery_status WHEN 'failed' THEN now() END FROM said"""
    )
    connection.execute(
        "UPDATE et_threads SET owner = 'human', operator = 'anna', owner_since = now() - id * interval '1 minute',"
        " epoch = 1 WHERE id BETWEEN 401 AND 450"
    )


async def _measure(bench: Bench, dsns: dict[int, str]) -> dict[str, dict[int, list[Taken]]]:
    """Every look on every past in turn, as often as there are repetitions; the other past comes first each time."""
    found: dict[str, dict[int, list[Taken]]] = {}
    async with AsyncExitStack() as stack:
        grounds = []
        for size, dsn in dsns.items():
            pool = await stack.enter_async_context(open_pool(dsn, size=2))
            engines = await stack.enter_async_context(open_pool(dsn, size=1, by_index=True))
            connection = await stack.enter_async_context(engines.connection())
            grounds.append((size, looks(size), pool, connection))
        for repetition in range(bench.repetitions):
            for _, _, _, connection in grounds if repetition else []:
                # Of what claims that were rolled back have left: those of an engine are not.
                await connection.execute("VACUUM et_messages, et_threads, et_outbound_queue")
            for place in range(len(looks(0))):
                for size, all_looks, pool, connection in grounds if repetition % 2 else reversed(grounds):
                    look = all_looks[place]
                    taken = await _time(look, pool, connection)
                    found.setdefault(look.name, {}).setdefault(size, []).append(taken)
                    bench.tell(
                        f"growth, {size:,}: {look.name} p50 {taken.p50:.2f} ms, max {max(taken.times):.2f} ms, "
                        f"{taken.pages:,.0f} pages"
                    )
    return found


async def _time(look: Look, pool: Pool, connection: Connection) -> Taken:
    """Some runs, without the first few."""
    times: list[float] = []
    until = time.monotonic() + SECONDS_EACH
    before, runs = await _pages(pool, connection), 0
    while len(times) < 3 or (len(times) < RUNS and time.monotonic() < until):
        if look.writes:
            await connection.execute("BEGIN")
        began = time.perf_counter()
        await look.work(pool, connection)
        took = (time.perf_counter() - began) * 1000
        if look.writes:
            connection.pgconn.exec_(b"ROLLBACK")  # psycopg would forget its prepared statements
        runs += 1
        if runs > WARM or time.monotonic() > until:
            times.append(took)
    return Taken(times, (await _pages(pool, connection) - before) / runs)


async def _pages(pool: Pool, connection: Connection) -> int:
    """Pages that this database has looked at so far, all three connections' counted."""
    async with pool.connection() as one, pool.connection() as other:
        for each in (one, other, connection):
            await each.execute("SELECT pg_stat_force_next_flush()")
    found = await connection.execute(
        "SELECT blks_hit + blks_read AS pages FROM pg_stat_database WHERE datname = current_database()"
    )
    row = await found.fetchone()
    assert row is not None
    return int(row["pages"])


def looks(size: int) -> list[Look]:
    """What is measured on a database of so many messages."""
    from engine.inbound import claims
    from engine.observe import explain, inbox, journal, no_reply, outbound, timeline, usage, views
    from engine.observe.health import system_health
    from engine.observe.search import parse_search
    from engine.observe.spending import spending
    from engine.outbound import queue

    middle, last_day = size // 4 * 2 + 1, datetime.now(UTC)
    arrivals = usage.Arrivals()

    async def claim(pool: Pool, c: Connection) -> None:
        assert await claims.claim_turns(c, engine="e", threads=50, lease_seconds=60, burst=1)

    async def claim_send(pool: Pool, c: Connection) -> None:
        assert await queue.claim_sends(c, engine="e", sends=32, lease_seconds=60, paused=[])

    async def overview(pool: Pool, c: Connection) -> None:
        nonlocal arrivals
        await system_health(pool)
        async with pool.connection() as own:
            await views.read_trips(own, 40, await views.newest_message(own))
            await usage.read_today(own, None)
            arrivals = arrivals.with_newer(await usage.read_arrivals(own, arrivals.newest), 61)

    async def message(pool: Pool, c: Connection) -> None:
        assert await views.message_detail(pool, middle)
        assert await timeline.turn_timeline(pool, middle)

    async def open_journal(pool: Pool, c: Connection) -> None:
        await journal.Journal(None).renew(pool)

    async def idle(pool: Pool, c: Connection) -> None:
        await fetch(c, "next_due", [])
        await fetch(c, "next_send")

    return [
        Look("claim of 50 turns", claim, writes=True),
        Look("claim of 32 sends", claim_send, writes=True),
        Look("when the next is due", idle),
        Look("rescue of turns", lambda p, c: claims.rescue_turns(c, max_attempts=5), writes=True),
        Look("rescue of sends", lambda p, c: queue.rescue_sends(c), writes=True),
        Look("sweep of mailboxes", lambda p, c: claims.sweep_mailboxes(c), writes=True),
        # These count or list what went wrong, up to a bound that a short past does not reach.
        Look("overview", overview, even=False),
        Look("system health", lambda p, c: system_health(p), even=False),
        Look("open messages", lambda p, c: views.page_before(p, parse_search(""))),
        Look("page of messages", lambda p, c: views.page_before(p, parse_search(""), middle)),
        Look(
            "page of errors",
            lambda p, c: views.page_before(p, parse_search("status:error"), middle),
            even=False,
        ),
        Look("page of a thread", lambda p, c: views.page_before(p, parse_search("thread:77"))),
        Look(
            "page of a rare text",
            lambda p, c: views.page_before(p, parse_search("no such words")),
            even=False,
        ),
        Look("one message", message),
        Look("why no reply", lambda p, c: no_reply.why_no_reply(p, middle)),
        Look("explain", lambda p, c: explain.explanation(p, middle)),
        Look("inbox", lambda p, c: inbox.inbox(p, inbox.ThreadSearch(), chosen=77), even=False),
        Look("inbox search", lambda p, c: inbox.inbox(p, inbox.ThreadSearch(text="nobody")), even=False),
        Look("outbound", lambda p, c: outbound.outbound(p, outbound.SendSearch()), even=False),
        Look("outbound, sent", lambda p, c: outbound.outbound(p, outbound.SendSearch(groups=("sent",)))),
        Look("usage of 30 days", lambda p, c: spending(p, last_day, 30), even=False),
        Look("usage of 30 days by hour", lambda p, c: spending(p, last_day, 30, by="hour"), even=False),
        Look("usage of 30 days by agent", lambda p, c: spending(p, last_day, 30, by="agent"), even=False),
        Look("usage of today", lambda p, c: spending(p, last_day, 1), even=False),
        Look("journal", open_journal),
    ]
