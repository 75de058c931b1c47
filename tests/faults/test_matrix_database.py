"""Faults 11 to 13, 15 and 18: the database dies, hangs, or changes under a running engine."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from engine.database.migrations import migrate
from engine.database.schema_checks import guards
from engine.supervisor import Engine
from tests.faults import checks
from tests.faults.checks import Evidence
from tests.faults.journal import install
from tests.faults.ready import LATEST_SECONDS, seconds_until
from tests.support.crashable import CrashablePostgres
from tests.support.postgres import Server
from tests.support.trip import Trip, trip

RECOVERY_SECONDS = 15.0


@pytest.fixture
def world(dsn: str, tmp_path: Path) -> Iterator[Trip]:
    with trip(dsn, tmp_path, http_enabled=True, http_port=0, poll_seconds=2.0) as whole:
        install(dsn)
        yield whole


def violations(world: Trip) -> dict[str, list[str]]:
    evidence = Evidence(world.dsn, world.channel.arrivals())
    return {name: found for name, found in checks.verdict(evidence).items() if found}


def until_rest(world: Trip) -> None:
    """Until every send has come to an end."""
    waiting = "SELECT FROM et_outbound_queue WHERE status IN ('queued', 'processing', 'retry_scheduled')"
    world.until(lambda: not world.query(waiting), "all is sent")


def ask(world: Trip, number: int) -> list[int]:
    """That many questions of as many customers."""
    return [world.insert("hello", sender=f"p{n}") for n in range(number)]


def terminate(world: Trip, pattern: str = "switchboard%") -> int:
    """pg_terminate_backend for every connection of the engine of that name."""
    rows = world.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE %s AND pid <> pg_backend_pid()",
        pattern,
    )
    return len(rows)


def test_postgres_crashes_and_the_engine_goes_on_by_itself(tmp_path: Path) -> None:
    """Fault 11, twice in a row, the second time for longer than the pool tries to reconnect."""
    with CrashablePostgres() as postgres:
        dsn = postgres.database("crashing")
        install(dsn)
        with trip(dsn, tmp_path, http_enabled=True, http_port=0, lease_seconds=3.0) as world:
            engine = world.start()
            world.llm.uniapi.latency_seconds = 0.2
            for down in (0.5, 8.0):
                asked = ask(world, 20)
                time.sleep(0.1)
                postgres.crash()
                began = time.monotonic()
                assert seconds_until(engine, False, LATEST_SECONDS) < LATEST_SECONDS
                time.sleep(max(0.0, down - (time.monotonic() - began)))
                postgres.start()
                seconds_until(engine, True, RECOVERY_SECONDS)
                world.connection = psycopg.connect(dsn, autocommit=True, row_factory=psycopg.rows.dict_row)
                for message in asked:
                    world.until_status(message, *checks.DONE)
                world.until(lambda: engine.snapshot().inbound_worker.listening, "it listens again")
            world.until_sent(world.insert("and now?", sender="late"))
            world.stop()
            assert violations(world) == {}


def test_postgres_crashes_while_the_engine_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 11, in the middle of a start: once the settings are read, the engine waits for it."""
    with CrashablePostgres() as postgres:
        dsn = postgres.database("crashing")
        install(dsn)
        look = Engine._watch_schema

        async def crash_first(engine: Engine) -> None:
            monkeypatch.setattr(Engine, "_watch_schema", look)
            postgres.crash()
            await look(engine)

        monkeypatch.setattr(Engine, "_watch_schema", crash_first)
        with trip(dsn, tmp_path, http_enabled=True, http_port=0, lease_seconds=3.0) as world:
            engine = world.start()
            assert [blocker.code for blocker in engine.snapshot().blockers] == ["database.unreachable"]
            postgres.start()
            seconds_until(engine, True, RECOVERY_SECONDS)
            world.connection = psycopg.connect(dsn, autocommit=True, row_factory=psycopg.rows.dict_row)
            world.until_sent(world.insert("hello", sender="early"))


def test_killed_backends_are_replaced(world: Trip) -> None:
    """Fault 12: every connection of the engine, the listening one included, over and over."""
    engine = world.start()
    asked: list[int] = []
    killed = 0
    for _ in range(10):
        asked += ask(world, 5)
        killed += terminate(world)
        time.sleep(0.2)
    assert killed > 10
    for message in asked:
        world.until_status(message, *checks.DONE)
    world.until(lambda: engine.snapshot().inbound_worker.listening, "it listens again")
    until_rest(world)
    assert engine.snapshot().blockers == []
    began = time.monotonic()
    world.until_sent(world.insert("woken by NOTIFY?", sender="late"))
    assert time.monotonic() - began < 1.5, "found by polling only"
    assert violations(world) == {}


def test_without_listen_work_is_found_by_polling(world: Trip) -> None:
    """Fault 13: no NOTIFY arrives, and work is picked up within 5 s all the same."""
    function = world.one("SELECT pg_get_functiondef('et_messages_mailbox'::regproc) AS body")["body"]
    assert "PERFORM pg_notify" in function
    world.connection.execute(function.replace("PERFORM pg_notify(", "PERFORM concat(").encode())
    world.start()
    time.sleep(1.0)
    began = time.monotonic()
    world.until_sent(world.insert("hello"))
    assert time.monotonic() - began < 5.0


def test_a_pool_that_is_used_up_is_told_and_gets_over_it(world: Trip) -> None:
    """Fault 15: every connection of the engine hangs in a statement, since somebody has locked the addresses."""
    engine = world.start()
    world.until_sent(world.insert("before"))
    world.setting("ai_paused", True)
    world.until(lambda: engine.snapshot().inbound_worker.state == "paused", "nothing is claimed")
    asked = ask(world, 30)
    with psycopg.connect(world.dsn) as greedy:
        greedy.execute("LOCK TABLE et_lead_addresses IN ACCESS EXCLUSIVE MODE")
        world.setting("ai_paused", False)  # now thirty strangers want to be stored
        locked = time.monotonic()
        seconds_until(engine, False, 2 * LATEST_SECONDS)
        time.sleep(max(0.0, 12.0 - (time.monotonic() - locked)))
        greedy.rollback()
    seconds_until(engine, True, RECOVERY_SECONDS)
    world.until_sent(world.insert("after"))
    for message in asked:
        world.until_status(message, *checks.DONE)
    until_rest(world)
    assert violations(world) == {}


def test_a_database_that_takes_no_connections(world: Trip, embedded: Server) -> None:
    """Fault 15: every slot of the server is taken by others."""
    engine = world.start()
    name = world.one("SELECT current_database() AS name")["name"]
    asked = ask(world, 5)
    switch = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(embedded.admin_dsn, autocommit=True) as admin:
        admin.execute(switch.format(sql.Identifier(name), sql.SQL("false")))
        try:
            terminate(world)
            assert seconds_until(engine, False, LATEST_SECONDS) < LATEST_SECONDS
            time.sleep(7)
        finally:
            admin.execute(switch.format(sql.Identifier(name), sql.SQL("true")))
    seconds_until(engine, True, RECOVERY_SECONDS)
    for message in asked:
        world.until_status(message, *checks.DONE)
    until_rest(world)
    assert violations(world) == {}


DAMAGE = {
    "a column of the queue": "ALTER TABLE et_outbound_queue DROP COLUMN error_class",
    "a column of the threads": "ALTER TABLE et_threads DROP COLUMN epoch",
    "a unique key": "DROP INDEX et_messages_one_reply",
    "the intake trigger": "DROP TRIGGER et_messages_intake ON et_messages",
    "a disabled trigger": "ALTER TABLE et_messages DISABLE TRIGGER et_messages_status",
    "a check": "ALTER TABLE et_messages DROP CONSTRAINT et_messages_lease",
    "the turns": "DROP TABLE et_turns",
    "a key that is no key": "DROP INDEX et_messages_one_reply;"
    "CREATE INDEX et_messages_one_reply ON et_messages (in_reply_to)",
    "a status machine that agrees to all": "CREATE OR REPLACE FUNCTION et_messages_status() RETURNS trigger"
    " LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_guard_that_goes_missing_stops_the_engine_and_migration_heals_it(world: Trip, what: str) -> None:
    """Fault 18: nothing is claimed while the schema is not the one we need, and nothing is lost meanwhile."""
    engine = world.start()
    world.until_sent(world.insert("before"))
    world.connection.execute(DAMAGE[what].encode())
    began = time.monotonic()
    seconds_until(engine, False, LATEST_SECONDS)
    world.until(lambda: engine.snapshot().blockers, "the engine itself has noticed")
    assert time.monotonic() - began < LATEST_SECONDS
    waiting = world.insert("during", sender="late")
    time.sleep(1.0)
    assert world.message(waiting)["delivery_status"] == "received"
    if what == "a disabled trigger":
        world.connection.execute("ALTER TABLE et_messages ENABLE TRIGGER et_messages_status")
    run = migrate(world.dsn)
    assert run.ok, run.blockers
    seconds_until(engine, True, RECOVERY_SECONDS)
    world.until_sent(waiting)


def test_every_guard_is_looked_for(world: Trip) -> None:
    """Each index, trigger and check that the SQL file creates is missed when it is gone."""
    from engine.database.migrations import check_schema

    tables = {
        row["name"]: row["table"]
        for row in world.query(
            "SELECT tgname AS name, tgrelid::regclass::text AS table FROM pg_trigger WHERE NOT tgisinternal"
            " UNION ALL SELECT conname, conrelid::regclass::text FROM pg_constraint WHERE contype = 'c'"
        )
    }
    drops = [f"DROP INDEX {name}" for name in guards()["indexes"]]
    drops += [f"DROP TRIGGER {name} ON {tables[name]}" for name in guards()["triggers"]]
    drops += [f"ALTER TABLE {tables[name]} DROP CONSTRAINT {name}" for name in guards()["constraints"]]
    assert len(drops) > 20
    with psycopg.connect(world.dsn) as connection:
        for drop in drops:
            with contextlib.suppress(psycopg.Rollback), connection.transaction():
                connection.execute(drop.encode())
                assert check_schema(connection).blockers, drop
                raise psycopg.Rollback
