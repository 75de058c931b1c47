"""The part of the configuration checklist that asks the database."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

import psycopg
from pydantic import BaseModel

from engine.database.connection import Connection, DatabaseError, connect
from engine.database.schema_checks import CATALOGUE, evaluate
from engine.llm.router import Router
from engine.llm.routing import RoutingError
from engine.observe.reading import ALIVE_SECONDS
from engine.text import one_line

State = Literal["ok", "warn", "fail", "skip"]
NAMES = ("schema", "notifications", "clock", "agents", "routing", "record_context_prompt", "engines")
NOTIFY_SECONDS = 2.0
CLOCK_SECONDS = 5.0
"""A larger difference makes times in logs and on screens hard to compare; leases do not depend on it."""


class Check(BaseModel):
    """One line of the checklist."""

    name: str
    state: State
    what: str
    remedy: str | None = None
    """What to do; None when there is nothing to do."""


async def database_checks(connection: Connection, dsn: str, router: Router) -> list[Check]:
    """Every check that asks the database. Puts the configured routing in force in `router`."""
    asks = (
        ("schema", partial(_schema, connection)),
        ("notifications", partial(_notifications, connection, dsn)),
        ("clock", partial(_clock, connection)),
        ("agents", partial(_agents, connection)),
        ("routing", partial(_routing, connection, router)),
        ("record_context_prompt", partial(_recording, connection)),
        ("engines", partial(_engines, connection)),
    )
    return [await _guarded(name, ask) for name, ask in asks]


def skipped() -> list[Check]:
    """The same checks, when there is no database to ask."""
    return [Check(name=name, state="skip", what="needs the database") for name in NAMES]


async def _guarded(name: str, ask: Callable[[], Awaitable[Check]]) -> Check:
    try:
        return await ask()
    except psycopg.errors.UndefinedTable:
        return Check(name=name, state="skip", what="needs the schema")
    except (psycopg.Error, OSError) as error:
        return Check(name=name, state="fail", what=one_line(str(error)), remedy="See the server's log.")
    except DatabaseError as error:
        return Check(name=name, state="fail", what=error.what, remedy=error.remedy)


async def _schema(connection: Connection) -> Check:
    row = await (await connection.execute(CATALOGUE.encode())).fetchone()
    assert row is not None
    check = evaluate(row["catalogue"])
    if not check.compatible:
        first = check.blockers[0]
        more = f" (and {len(check.blockers) - 1} more)" if len(check.blockers) > 1 else ""
        return Check(name="schema", state="fail", what=f"{first.what}{more}", remedy=first.remedy)
    drift = f"; {len(check.drift)} difference(s) left alone" if check.drift else ""
    return Check(name="schema", state="ok", what=f"compatible{drift}")


async def _notifications(connection: Connection, dsn: str) -> Check:
    """NOTIFY on one connection must reach a LISTEN on another; a pooler in transaction mode loses it."""
    word = secrets.token_hex(8)
    async with await connect(dsn, "switchboard doctor listen") as listener:
        await listener.execute("LISTEN et_doctor")
        await connection.execute("SELECT pg_notify('et_doctor', %s)", [word])
        async for notice in listener.notifies(timeout=NOTIFY_SECONDS):
            if notice.payload == word:
                return Check(name="notifications", state="ok", what="LISTEN and NOTIFY work")
    what = "A notification did not arrive: work would be found by polling only."
    remedy = "Let DATABASE_URL reach PostgreSQL directly, or a pooler in session mode."
    return Check(name="notifications", state="warn", what=what, remedy=remedy)


async def _clock(connection: Connection) -> Check:
    before = datetime.now(UTC)
    row = await (await connection.execute("SELECT clock_timestamp() AS now")).fetchone()
    after = datetime.now(UTC)
    assert row is not None
    seconds = (row["now"] - (before + (after - before) / 2)).total_seconds()
    if abs(seconds) > CLOCK_SECONDS:
        what = f"The database's clock is {seconds:+.0f} s from this machine's."
        return Check(name="clock", state="warn", what=what, remedy="Synchronise both clocks (NTP).")
    return Check(name="clock", state="ok", what=f"{abs(seconds) * 1000:.0f} ms from the database's")


async def _agents(connection: Connection) -> Check:
    rows = await (
        await connection.execute(
            "SELECT t.tenant_id, EXISTS (SELECT FROM et_agents a JOIN et_agent_versions v"
            " ON v.agent_id = a.id AND v.version = a.active_version"
            " WHERE a.tenant_id = t.tenant_id AND a.enabled) AS answered"
            " FROM (SELECT id AS tenant_id FROM et_tenants UNION SELECT tenant_id FROM et_threads) t ORDER BY 1"
        )
    ).fetchall()
    without = [str(row["tenant_id"]) for row in rows if not row["answered"]]
    if without:
        what = f"No enabled agent for tenant {', '.join(without[:10])}: its messages go to a person."
        return Check(
            name="agents", state="fail", what=what, remedy="Make or enable one in the console's Settings."
        )
    return Check(name="agents", state="ok", what=f"{len(rows)} tenant(s), each with an enabled agent")


async def _platform_setting(connection: Connection, key: str) -> Any:
    cursor = await connection.execute("SELECT value FROM et_platform_settings WHERE key = %s", [key])
    row = await cursor.fetchone()
    return row["value"] if row else None


async def _routing(connection: Connection, router: Router) -> Check:
    raw = await _platform_setting(connection, "llm_routing_config")
    try:
        routing = router.configure(raw)
    except RoutingError as error:
        return Check(name="routing", state="fail", what=error.what, remedy=error.remedy)
    routes = " → ".join(f"{route.provider}/{route.model}" for route in routing.routes("conversation"))
    origin = "the default" if raw is None else "llm_routing_config"
    return Check(name="routing", state="ok", what=one_line(f"{routes} ({origin})"))


async def _recording(connection: Connection) -> Check:
    value = await _platform_setting(connection, "record_context_prompt")
    name = "record_context_prompt"
    if value not in (None, True, False):
        what = f"{one_line(repr(value))} is neither true nor false; it counts as false."
        return Check(name=name, state="warn", what=what, remedy="Set it in the console's Settings.")
    kept = "kept with every trace" if value else "not kept"
    return Check(name=name, state="ok", what=f"{str(bool(value)).lower()}: whole prompts are {kept}")


async def _engines(connection: Connection) -> Check:
    rows = await (
        await connection.execute(
            "SELECT name FROM et_engines WHERE stopped_at IS NULL"
            " AND heartbeat_at > clock_timestamp() - make_interval(secs => %s) ORDER BY name",
            [ALIVE_SECONDS],
        )
    ).fetchall()
    if not rows:
        remedy = "Start one: switchboard engine (or the console, which brings its own)."
        return Check(name="engines", state="warn", what="No engine is running.", remedy=remedy)
    names = one_line(", ".join(row["name"] for row in rows))
    return Check(name="engines", state="ok", what=f"{len(rows)} running: {names}")
