"""System health: what blocks, what warns, and that asking costs the same at any size."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Jsonb

from engine.database.connection import Connection, Pool, open_pool
from engine.model import Blocker, ComponentHealth, DispatcherSnapshot, EngineSnapshot, WorkerSnapshot
from engine.observe import reading, verdict
from engine.observe.health import SystemHealth, readiness, system_health
from engine.observe.state_sql import COUNT_LIMIT, STATE
from tests.support.postgres import Server

NOW = datetime(2026, 2, 19, 14, 0, tzinfo=UTC)


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    async with open_pool(dsn, size=3) as pool:
        yield pool


def snapshot(name: str = "one", **fields: Any) -> EngineSnapshot:
    worker = fields.pop("worker", WorkerSnapshot(state="running", listening=True))
    return EngineSnapshot(
        name=name, version="1", host="here", pid=7, started_at=NOW, inbound_worker=worker, **fields
    )


def blocker(code: str, where: str = "x") -> Blocker:
    return Blocker(code=code, what=code, where=where, remedy="mend it")


def llm(name: str, state: Any, code: str | None = None) -> ComponentHealth:
    return ComponentHealth(name=name, kind="llm", state=state, blocker=blocker(code, name) if code else None)


def codes(blockers: list[Blocker]) -> list[str]:
    return [blocker.code for blocker in blockers]


async def beat(db: Connection, told: EngineSnapshot, *, age: float = 0, stopped: bool = False) -> None:
    await db.execute(
        "INSERT INTO et_engines (name, version, host, pid, started_at, simulated, snapshot, heartbeat_at,"
        " stopped_at) VALUES (%s, %s, %s, %s, %s, %s, %s, now() - make_interval(secs => %s),"
        " CASE WHEN %s THEN now() END)",
        [
            told.name,
            told.version,
            told.host,
            told.pid,
            told.started_at,
            told.simulated,
            Jsonb(told.model_dump(mode="json")),
            age,
            stopped,
        ],
    )


def count(health: SystemHealth, status: str, outcome: str | None = None) -> int:
    (state,) = [q for q in health.queues if (q.status, q.outcome) == (status, outcome)]
    return state.count


# Who is asked


async def test_without_an_engine_messages_are_not_answered(pool: Pool) -> None:
    health = await system_health(pool)
    assert not health.ready
    assert codes(health.blockers) == ["engine.none"]
    assert "switchboard engine" in health.blockers[0].remedy
    assert health.schema_compatibility is not None
    assert health.schema_compatibility.compatible
    assert "llm_total_tokens" in health.schema_compatibility.checked_columns
    assert health.inbound_worker is None
    assert [(q.status, q.outcome) for q in health.queues] == [
        ("received", None),
        ("inbound_processing", None),
        ("inbound_human_takeover", None),
        ("inbound_error", None),
        ("queued", None),
        ("processing", None),
        ("retry_scheduled", None),
        ("failed", "unknown"),
        ("failed", None),
        ("failed", "cancelled"),
    ]
    assert {q.count for q in health.queues} == {0}


async def test_an_engine_asking_about_itself_is_ready(pool: Pool) -> None:
    health = await system_health(pool, local=snapshot(simulated=True))
    assert health.ready
    assert health.blockers == []
    assert health.simulated
    assert health.database.server_version is not None
    assert (health.database.size_bytes or 0) > 1_000_000
    assert 0 < (health.database.connections or 0) <= (health.database.connections_max or 0)
    assert (health.database.latency_ms or 0) > 0
    assert await readiness(pool, snapshot()) == (True, [])


async def test_the_time_is_the_databases(pool: Pool, db: Connection) -> None:
    row = await (await db.execute("SELECT clock_timestamp() AS now")).fetchone()
    assert row is not None
    health = await system_health(pool)
    assert timedelta(0) < health.checked_at - row["now"] < timedelta(seconds=10)


async def test_a_live_engine_elsewhere_makes_it_ready(pool: Pool, db: Connection) -> None:
    await beat(db, snapshot("far"), age=3)
    health = await system_health(pool)
    assert health.ready
    (engine,) = health.engines
    assert engine.alive
    assert 3 <= engine.heartbeat_age_seconds < 10


async def test_a_silent_engine_does_not(pool: Pool, db: Connection) -> None:
    await beat(db, snapshot("gone"), age=16)
    await beat(db, snapshot("ended"), stopped=True)
    health = await system_health(pool)
    assert codes(health.blockers) == ["engine.none"]
    assert codes(health.warnings) == ["engine.silent"]
    assert [(e.name, e.alive) for e in health.engines] == [("gone", False)]
    assert health.inbound_worker is None


async def test_the_asking_engines_own_row_gives_way_to_its_fresher_word(pool: Pool, db: Connection) -> None:
    await beat(db, snapshot("me", blockers=[blocker("old")]), age=20)
    health = await system_health(pool, local=snapshot("me"))
    assert health.ready
    assert [(e.name, e.alive) for e in health.engines] == [("me", True)]
    assert health.warnings == []


async def test_a_snapshot_of_another_version_is_shown_by_its_columns(pool: Pool, db: Connection) -> None:
    await beat(db, snapshot("odd"))
    await db.execute('UPDATE et_engines SET snapshot = \'{"llm": 3, "inbound_worker": []}\'')
    health = await system_health(pool)
    assert [(e.name, e.pid, e.host) for e in health.engines] == [("odd", 7, "here")]


# Blockers and warnings


async def test_a_starting_or_stopping_engine_is_not_ready(pool: Pool) -> None:
    for state in ("starting", "stopping"):
        ready, blockers = await readiness(pool, snapshot(worker=WorkerSnapshot(state=state)))
        assert not ready
        assert codes(blockers) == [f"engine.{state}"]


def test_a_provider_in_trouble_blocks_only_when_no_other_answers() -> None:
    refused = llm("uniapi", "down", "llm.auth")
    reported = [refused.blocker] if refused.blocker else []
    helped = snapshot(llm=[refused, llm("zai", "up")], blockers=reported)
    assert [codes(part) for part in verdict.of_engine(helped)] == [[], ["llm.auth"]]
    alone = snapshot(llm=[refused, llm("zai", "unconfigured")], blockers=reported)
    assert [codes(part) for part in verdict.of_engine(alone)] == [["llm.auth"], []]


def test_a_channel_in_trouble_blocks() -> None:
    down = ComponentHealth(name="waha/a", kind="channel", state="down", blocker=blocker("channel.session"))
    blockers, _ = verdict.of_engine(snapshot(channels=[down], llm=[llm("uniapi", "up")]))
    assert codes(blockers) == ["channel.session"]


async def test_one_engine_that_can_answer_is_enough_for_those_outside(pool: Pool, db: Connection) -> None:
    await beat(db, snapshot("well"))
    await beat(db, snapshot("ill", blockers=[blocker("llm.auth")]))
    health = await system_health(pool)
    assert health.ready
    assert codes(health.warnings) == ["llm.auth"]
    mine = await system_health(pool, local=snapshot("ill", blockers=[blocker("llm.auth")]))
    assert codes(mine.blockers) == ["llm.auth"]


async def test_the_kill_switch_warns_and_does_not_block(pool: Pool, db: Connection) -> None:
    await db.execute("INSERT INTO et_platform_settings (key, value) VALUES ('ai_paused', 'true')")
    await db.execute("UPDATE et_tenants SET paused = true")
    health = await system_health(pool, local=snapshot())
    assert health.ready
    assert codes(health.warnings) == ["ai.paused", "tenant.paused"]


async def test_an_engine_without_notifications_warns(pool: Pool) -> None:
    health = await system_health(pool, local=snapshot(worker=WorkerSnapshot(state="running")))
    assert codes(health.warnings) == ["inbound.not_listening"]


async def test_a_dropped_column_blocks_until_it_is_back(pool: Pool, db: Connection) -> None:
    await db.execute("ALTER TABLE et_messages DROP COLUMN llm_model")
    health = await system_health(pool, local=snapshot())
    assert [(b.code, b.where) for b in health.blockers] == [
        ("schema.column_missing", "et_messages.llm_model")
    ]
    assert "migrate" in health.blockers[0].remedy
    assert health.queues != [], "what is not touched by the blocker is still told"
    ready, blockers = await readiness(pool, snapshot())
    assert not ready
    assert blockers == health.blockers
    await db.execute("ALTER TABLE et_messages ADD COLUMN llm_model text")
    assert (await system_health(pool, local=snapshot())).ready
    assert (await readiness(pool, snapshot()))[0]


@pytest.mark.parametrize(
    "ruin",
    [
        "DROP TABLE et_outbound_queue CASCADE",
        "DROP TABLE et_engines",
        "ALTER TABLE et_messages DROP COLUMN delivery_status CASCADE",
        "ALTER TABLE et_engines DROP COLUMN heartbeat_at",
    ],
)
async def test_a_ruined_schema_is_told_not_raised(pool: Pool, db: Connection, ruin: str) -> None:
    await db.execute(ruin.encode())
    health = await system_health(pool, local=snapshot())
    assert not health.ready
    assert {code.split(".")[0] for code in codes(health.blockers)} == {"schema"}
    assert health.database.server_version is not None


async def test_a_user_without_rights_is_told_so(db: Connection, dsn: str) -> None:
    await db.execute("CREATE ROLE health_visitor LOGIN")
    try:
        async with open_pool(make_conninfo(dsn, user="health_visitor"), size=1) as pool:
            health = await system_health(pool, local=snapshot())
    finally:
        await db.execute("DROP ROLE health_visitor")
    assert codes(health.blockers) == ["database.refused"]
    assert "permission denied" in health.blockers[0].what


# A database in trouble


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_an_unreachable_database_is_a_blocker_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "CONNECTION_SECONDS", 0.2)
    pool = open_pool(f"postgresql://me:s3cretword@127.0.0.1:{free_port()}/db", size=1)
    await pool.open(wait=False)
    try:
        health = await system_health(pool, local=snapshot())
        assert codes(health.blockers) == ["database.unreachable"]
        assert "DATABASE_URL" in health.blockers[0].remedy
        assert "s3cretword" not in health.model_dump_json()
        assert [engine.name for engine in health.engines] == ["one"], "the engine still tells of itself"
        assert codes((await readiness(pool, snapshot()))[1]) == ["database.unreachable"]
    finally:
        await pool.close(timeout=0.1)


async def test_a_pool_in_use_is_told_from_a_dead_server(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CONNECTION_SECONDS", 0.2)
    async with open_pool(dsn, size=1) as pool:
        async with pool.connection():
            assert codes((await system_health(pool)).blockers) == ["database.pool_exhausted"]
        assert codes((await system_health(pool)).blockers) == ["engine.none"]


async def test_a_server_that_falls_silent_is_noticed_in_time(
    embedded: Server, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "ANSWER_SECONDS", 0.5)
    known = conninfo_to_dict(dsn)
    writers: list[asyncio.StreamWriter] = []
    flowing = asyncio.Event()
    flowing.set()

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                await flowing.wait()
                target.write(data)

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = f"{known['host']}/.s.PGSQL.{known.get('port') or 5432}"
        server_reader, server_writer = await asyncio.open_unix_connection(path)
        writers.extend([writer, server_writer])
        await asyncio.gather(carry(reader, server_writer), carry(server_reader, writer))

    proxy = await asyncio.start_server(between, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    pool = open_pool(make_conninfo(dsn, host="127.0.0.1", port=port, sslmode="disable"), size=1)
    await pool.open(wait=True)
    try:
        assert (await system_health(pool, local=snapshot())).ready
        flowing.clear()
        started = time.monotonic()
        health = await system_health(pool, local=snapshot())
        assert time.monotonic() - started < 2
        assert codes(health.blockers) == ["database.unreachable"]
        assert "no answer" in health.blockers[0].what
    finally:
        for writer in writers:
            writer.close()
        proxy.close()
        await pool.close(timeout=0.2)


# Queues

INSERT = (
    "INSERT INTO et_messages (tenant_id, channel, direction, text_content, delivery_status, raw_payload)"
    " VALUES (1, 'simulator', 'inbound', 'hello', 'received', jsonb_build_object('from', %s::text))"
    " RETURNING id"
)


async def test_every_queue_is_counted(pool: Pool, db: Connection) -> None:
    ids = []
    for sender in ("anna", "ben", "cleo", "cleo", "dora"):
        row = await (await db.execute(INSERT, [sender])).fetchone()
        assert row is not None
        ids.append(row["id"])
    claim = (
        "UPDATE et_messages SET delivery_status = 'inbound_processing', claim_token = 1, attempts = 1,"
        " lease_until = now() + interval '1 minute', claimed_at = now(), turn_head_id = %s WHERE id = %s"
    )
    for head, message in ((None, ids[1]), (None, ids[2]), (ids[2], ids[3])):
        await db.execute(claim, [head, message])
    fail = "UPDATE et_messages SET delivery_status = 'inbound_error', lease_until = NULL WHERE id = %s"
    await db.execute(fail, [ids[1]])
    await db.execute("UPDATE et_threads SET owner = 'human', owner_since = now() WHERE address = 'dora'")
    for number, (status, outcome) in enumerate(
        [
            ("queued", None),
            ("queued", None),
            ("processing", None),
            ("retry_scheduled", None),
            ("accepted", None),
            ("sent", "confirmed"),
            ("failed", "unknown"),
            ("failed", "rejected"),
            ("failed", None),
            ("failed", "cancelled"),
        ]
    ):
        lease = "now() + interval '1 minute'" if status == "processing" else "NULL"
        await db.execute(
            f"INSERT INTO et_outbound_queue (message_id, status, outcome, lease_until, created_at)"
            f" VALUES (%s, %s, %s, {lease}, now() - interval '40 seconds')".encode(),
            [number + 1000, status, outcome],
        )
    health = await system_health(pool, local=snapshot())
    assert {(q.status, q.outcome): q.count for q in health.queues} == {
        ("received", None): 2,
        ("inbound_processing", None): 2,
        ("inbound_human_takeover", None): 1,
        ("inbound_error", None): 1,
        ("queued", None): 2,
        ("processing", None): 1,
        ("retry_scheduled", None): 1,
        ("failed", "unknown"): 1,
        ("failed", None): 2,
        ("failed", "cancelled"): 1,
    }
    assert not any(q.more for q in health.queues)
    (queued,) = [q for q in health.queues if q.status == "queued"]
    assert 40 <= (queued.oldest_age_seconds or 0) < 60
    assert codes(health.warnings) == ["inbound.error", "outbound.unknown"]


async def test_an_answered_takeover_waits_for_nobody(pool: Pool, db: Connection) -> None:
    await db.execute(INSERT, ["dora"])
    await db.execute("UPDATE et_threads SET owner = 'human', last_message_at = now() + interval '1 second'")
    assert count(await system_health(pool), "inbound_human_takeover") == 0


async def test_a_message_that_waits_too_long_is_pointed_out(pool: Pool, db: Connection) -> None:
    await db.execute(INSERT, ["anna"])
    await db.execute("UPDATE et_messages SET created_at = now() - interval '10 minutes'")
    assert codes((await system_health(pool, local=snapshot())).warnings) == ["inbound.waiting"]


@pytest.mark.parametrize(
    "pause",
    [
        "UPDATE et_threads SET paused_at = now() WHERE address = 'anna'",
        """INSERT INTO et_platform_settings (key, value) VALUES ('paused_channels', '["simulator"]')""",
        "INSERT INTO et_platform_settings (key, value) VALUES ('ai_paused', 'true')",
    ],
    ids=["thread", "channel", "everywhere"],
)
async def test_what_waits_where_the_ai_is_paused_is_no_stuck_queue(
    pool: Pool, db: Connection, pause: str
) -> None:
    await db.execute(INSERT, ["anna"])
    await db.execute("UPDATE et_messages SET created_at = now() - interval '10 minutes'")
    await db.execute("UPDATE et_threads SET burst_started_at = now() - interval '10 minutes'")
    await db.execute(
        "INSERT INTO et_messages (tenant_id, channel, direction, text_content, delivery_status, raw_payload)"
        " VALUES (1, 'telegram', 'inbound', 'hello', 'received', jsonb_build_object('from', 'ben'::text))"
    )
    await db.execute(pause.encode())
    health = await system_health(pool, local=snapshot())
    assert "inbound.waiting" not in codes(health.warnings)
    (received,) = [q for q in health.queues if q.status == "received"]
    everywhere = "ai_paused" in pause
    assert (received.count, received.held) == (2, 2 if everywhere else 1)
    assert 590 < (received.held_oldest_age_seconds or 0) < 700
    if everywhere:
        assert received.oldest_age_seconds is None
    else:
        assert (received.oldest_age_seconds or 0.0) < 60
    await db.execute("DELETE FROM et_platform_settings")
    await db.execute("UPDATE et_threads SET paused_at = NULL")
    assert "inbound.waiting" in codes((await system_health(pool, local=snapshot())).warnings)


async def fill(db: Connection, history: int, waiting: int = 0) -> None:
    """Past messages and sends; `waiting` ones that nobody has claimed."""
    await db.execute("SET session_replication_role = replica")  # no triggers, for speed
    await db.execute(
        "INSERT INTO et_threads (tenant_id, lead_id, channel, last_inbound_at, last_message_at)"
        " SELECT 1, n, 'simulator', now(), now() FROM generate_series(1, 500) n"
    )
    message = (
        "INSERT INTO et_messages (tenant_id, thread_id, channel, direction, text_content, delivery_status)"
        " SELECT 1, n %% 500 + 1, 'simulator', %s, 'text', %s FROM generate_series(1, %s) n"
    )
    await db.execute(message, ["inbound", "inbound_ai_replied", history // 2])
    await db.execute(message, ["outbound", "sent", history // 2])
    await db.execute("INSERT INTO et_outbound_queue (message_id, status) SELECT id, 'sent' FROM et_messages")
    await db.execute(message, ["inbound", "received", waiting])


def scanned(plan: list[dict[str, Any]]) -> set[str]:
    lines = "\n".join(row["QUERY PLAN"] for row in plan)
    return set(re.findall(r"Seq Scan on (et_\w+)", lines))


async def test_no_statistics_talk_the_planner_into_reading_history(pool: Pool, db: Connection) -> None:
    await fill(db, 40_000)
    explain = f"EXPLAIN {STATE}".encode()
    for moment in ("not analysed", "analysed", "with a backlog gone"):
        found = scanned(await (await db.execute(explain)).fetchall())
        assert not found & {"et_messages", "et_outbound_queue", "et_threads"}, moment
        if moment == "analysed":
            await db.execute(
                "INSERT INTO et_messages (tenant_id, thread_id, channel, direction, delivery_status)"
                " SELECT 1, n % 500 + 1, 'simulator', 'inbound', 'received' FROM generate_series(1, 40000) n"
            )
            await db.execute("UPDATE et_outbound_queue SET status = 'failed' WHERE id % 2 = 0")
        await db.execute("ANALYZE")
    assert (await system_health(pool)).ready is False


async def test_counting_stops_at_its_limit(pool: Pool, db: Connection) -> None:
    await fill(db, 2, waiting=COUNT_LIMIT + 50)
    (state,) = [q for q in (await system_health(pool)).queues if q.status == "received"]
    assert (state.count, state.more) == (COUNT_LIMIT, True)


# Several engines as one


def test_snapshots_add_up_to_one() -> None:
    one = WorkerSnapshot(state="running", listening=True, claimed=3, last_claim_at=NOW)
    two = WorkerSnapshot(state="blocked", claimed=4, last_error="bad", last_error_at=NOW)
    both = verdict.summed([one, two])
    assert both is not None
    assert (both.state, both.listening, both.claimed) == ("blocked", False, 7)
    assert (both.last_claim_at, both.last_error, both.last_error_at) == (NOW, "bad", NOW)
    sends = verdict.summed(
        [DispatcherSnapshot(paused_channels=["b", "a"]), DispatcherSnapshot(paused_channels=["a"])]
    )
    assert sends is not None
    assert sends.paused_channels == ["a", "b"]
    assert verdict.summed([]) is None


def test_of_each_provider_the_worst_view_is_told() -> None:
    seen = verdict.worst([llm("uniapi", "up"), llm("zai", "unknown"), llm("uniapi", "down")])
    assert [(c.name, c.state) for c in seen] == [("uniapi", "down"), ("zai", "unknown")]
    assert verdict.worst([]) == []


async def test_health_of_a_closed_pool_is_a_blocker(dsn: str) -> None:
    pool = open_pool(dsn, size=1)
    assert codes((await system_health(pool)).blockers) == ["database.unreachable"]
