"""Usage is what the turns say: every breakdown against a sum over et_turns, for turns that ended in every way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from engine.database.connection import Connection, Pool, fetch, open_pool, to_json
from engine.inbound import claims
from engine.inbound.claims import Completion
from engine.model import LLMResult, TurnKind, TurnOutcome, Usage
from engine.observe.spending import REPORTED, WAYS, Used, report, spending
from engine.runtime.agent_runtime import TurnResult

ANSWERS: tuple[tuple[str | None, str | None, str | None], ...] = (
    ("uniapi", "gemini-3-flash-preview", "0.0012344"),
    ("uniapi", "gpt-4o", "0.02"),
    ("zai", "glm-4.7", "0.0007"),
    ("zai", "glm-4.7-flash", "0"),
    ("uniapi", "mystery-1", None),
    (None, None, None),
)
"""Provider, model, USD; the last is a turn that called nobody."""
KEYS = {
    "day": "to_char(t.finished_at, 'YYYY-MM-DD')",
    "hour": "to_char(date_trunc('hour', t.finished_at), 'YYYY-MM-DD HH24:MI')",
    "model": "t.provider || ' ' || t.model",
    "provider": "t.provider",
    "agent": "CASE WHEN t.agent_id IS NULL THEN '(no agent)' ELSE a.name || ' #' || t.agent_id END",
    "tenant": "n.name || ' #' || t.tenant_id",
    "task": "t.task",
}


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    pool = open_pool(dsn, size=1)
    await pool.open(wait=True)
    yield pool
    await pool.close()


async def turns(db: Connection) -> None:
    """Turns of two tenants by two engines: replied, failed, drafted, lost, retried; and dry runs."""
    await db.execute("INSERT INTO et_tenants (name) VALUES ('Harbour')")
    await db.execute(
        "INSERT INTO et_platform_settings (key, value) VALUES ('quiet_window', '{\"seconds\": 0, \"max_seconds\": 0}')"
    )
    for number in range(36):
        await db.execute(
            "INSERT INTO et_messages (tenant_id, channel, direction, text_content, delivery_status, raw_payload)"
            " VALUES (%s, 'simulator', 'inbound', 'hello', 'received', jsonb_build_object('from', %s::text))",
            [1 + number % 2, f"customer {number}"],
        )
    for engine in ("one", "two"):
        held = await claims.claim_turns(db, engine=engine, threads=18, lease_seconds=60, burst=20)
        assert len(held) == 18
        await db.execute(
            "UPDATE et_threads SET owner = 'human', epoch = epoch + 1 WHERE id = %s", [held[3].thread_id]
        )
        await db.execute(
            "UPDATE et_threads SET claim_token = claim_token + 1 WHERE id = %s", [held[4].thread_id]
        )
        batch = [completion(claim, n) for n, claim in enumerate(held)]
        first = await claims.complete_turns(db, engine, batch)
        before = await fetch_counts(db)
        # The answer of the commit was lost, and it is written again: nothing counts twice.
        again = await claims.complete_turns(db, engine, batch)
        assert [done and done.result for done in again] == [done and done.result for done in first]
        assert await fetch_counts(db) == before
    for provider, model, usd in ANSWERS:
        await fetch(db, "record_dry_run", to_json(dry_run(provider, model, usd)))


async def fetch_counts(db: Connection) -> Any:
    sql = """SELECT (SELECT count(*) FROM et_turns) AS turns, (SELECT sum(turns) FROM et_usage_hourly) AS counted,
                    (SELECT count(*) FROM et_messages) AS messages"""
    return await (await db.execute(sql)).fetchone()


def completion(claim: claims.Claim, number: int) -> Completion:
    provider, model, usd = ANSWERS[number % len(ANSWERS)]
    outcome = (TurnOutcome.REPLIED, TurnOutcome.TAKEOVER, TurnOutcome.ERROR, TurnOutcome.RETRY)[number % 4]
    llm = LLMResult(
        text="Hello!",
        provider=provider,
        model=model,
        usage=Usage(prompt_tokens=None if number == 5 else 100 + number, completion_tokens=number),
        cost_usd=None if usd is None else Decimal(usd),
    )
    result = TurnResult(
        outcome, text="Hello!", llm=llm if provider else None, reason="test", started_at=claim.claimed_at
    )
    agent = None if number % 7 == 0 else 1
    return Completion(claim, result, TurnKind.LIVE, agent, agent, True, False, None, 5.0)


def dry_run(provider: str | None, model: str | None, usd: str | None) -> dict[str, Any]:
    return {
        "tenant_id": 2,
        "thread_id": 1,
        "message_id": 1,
        "task": "draft",
        "provider": provider,
        "model": model,
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "cost_usd": usd,
        "burst": 1,
        "started_at": datetime.now(UTC),
    }


async def true(db: Connection, by: str, since: datetime) -> dict[str, Used]:
    """What the turns themselves say. A turn that called nobody used nothing."""
    cursor = await db.execute(
        f"""SELECT {KEYS[by]} AS name, count(*)::int AS turns,
                   count(*) FILTER (WHERE t.cost_usd IS NULL)::int AS unpriced,
                   coalesce(sum(t.prompt_tokens), 0)::int AS prompt_tokens,
                   coalesce(sum(t.completion_tokens), 0)::int AS completion_tokens,
                   coalesce(sum(t.cost_usd), 0)::float AS cost_usd
              FROM et_turns t LEFT JOIN et_agents a ON a.id = t.agent_id JOIN et_tenants n ON n.id = t.tenant_id
             WHERE t.provider IS NOT NULL AND t.finished_at >= %s GROUP BY 1""".encode(),
        [since],
    )
    return {row["name"]: Used(**row) for row in await cursor.fetchall()}


def alike(used: Used) -> tuple[int, int, int, int, float]:
    return (used.turns, used.unpriced, used.prompt_tokens, used.completion_tokens, round(used.cost_usd, 6))


async def move_back(db: Connection, hours: int) -> None:
    """What is there happened so many hours ago."""
    await db.execute(b"UPDATE et_turns SET finished_at = finished_at - make_interval(hours => %s)", [hours])
    await db.execute(b"UPDATE et_usage_hourly SET hour = hour - make_interval(hours => %s)", [hours])


async def test_every_breakdown_is_what_the_turns_say(pool: Pool, db: Connection) -> None:
    await turns(db)
    outcomes = await (await db.execute("SELECT DISTINCT outcome FROM et_turns")).fetchall()
    assert {row["outcome"] for row in outcomes} >= {
        "replied", "takeover", "error", "retry", "drafted", "lost_claim", "dry_run"
    }  # fmt: skip
    await move_back(db, 30)
    for provider, model, usd in ANSWERS[:3]:
        await fetch(db, "record_dry_run", to_json(dry_run(provider, model, usd)))
    now = datetime.now(UTC)
    long_ago = (now - timedelta(days=3)).replace(hour=0, minute=0, second=0, microsecond=0)
    whole = alike((await report(pool, "task", long_ago, now + timedelta(hours=1))).total)
    assert whole[0] > 30
    assert whole[1] > 5
    assert whole[4] > 0.1
    for since in (long_ago, now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)):
        for by in REPORTED:
            told = await report(pool, by, since, now + timedelta(hours=1))
            said = {name: alike(used) for name, used in (await true(db, by, since)).items()}
            assert {used.name: alike(used) for used in told.used} == said, by
            assert alike(told.total) == (whole if since == long_ago else alike(told.total)), by


async def test_the_area_shows_what_the_turns_say(pool: Pool, db: Connection) -> None:
    await turns(db)
    await move_back(db, 30)
    now = datetime.now(UTC)
    for days in (1, 7, 30):
        for by in (None, *REPORTED):
            view = await spending(pool, now, days, by=by)
            for way in WAYS:
                said = sorted(alike(used) for used in (await true(db, way, view.since)).values())
                assert sorted(alike(used) for used in view.ways.get(way, ())) == said, (days, way)
            if by is not None:
                said = sorted(alike(used) for used in (await true(db, by, view.since)).values())
                assert sorted(alike(used) for used in view.used) == said, (days, by)
    days_shown = {day.name: alike(day) for day in view.days if day.turns}
    said_days = {name: alike(used) for name, used in (await true(db, "day", view.since)).items()}
    assert days_shown == said_days
