"""What Prometheus is told: who may ask, the figures against the database, and that history is not read."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.database.connection import Connection, Pool
from engine.model import Blocker, DispatcherSnapshot, WorkerSnapshot
from tests.http.test_api import Api, api, bearer, pool, settings

__all__ = ["api", "pool", "settings"]
METRICS = "/metrics"


async def scrape(api: Api) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = await api.client.get(METRICS, headers=bearer())
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def queue(status: str, *, of: str = "inbound", outcome: str = "") -> tuple[tuple[str, str], ...]:
    return (("outcome", outcome), ("queue", of), ("status", status))


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer no"}, {"Authorization": "Basic eDp5"}])
async def test_nobody_but_the_administrator_is_told(api: Api, headers: dict[str, str]) -> None:
    answer = await api.client.get(METRICS, headers=headers)
    assert answer.status_code == 401
    assert "switchboard_" not in answer.text
    assert (await api.client.get(METRICS, headers=bearer() | {"Host": "evil.example"})).status_code == 400


async def test_the_figures_are_the_databases(api: Api, db: Connection) -> None:
    await db.execute(
        """INSERT INTO et_messages (tenant_id, channel, direction, raw_payload, delivery_status, created_at)
           SELECT 1, 'simulator', 'inbound', jsonb_build_object('from', 'c' || n), 'received', now() - interval '1 hour'
             FROM generate_series(1, 7) n"""
    )
    await db.execute(
        """INSERT INTO et_usage_hourly (hour, tenant_id, agent_id, task, provider, model, turns, prompt_tokens,
                                        completion_tokens, cost_usd)
           VALUES (date_trunc('hour', now()), 1, 1, 'conversation', 'uniapi', 'm"1', 3, 300, 30, 0.25),
                  (now() - interval '2 days', 1, 1, 'conversation', 'uniapi', 'm"1', 9, 900, 90, 9)"""
    )
    api.snapshot.inbound_worker = WorkerSnapshot(state="running", listening=True, replied=5, in_flight=2)
    api.snapshot.outbound_dispatcher = DispatcherSnapshot(state="running", sent=4)
    told = await scrape(api)
    assert told["switchboard_ready", ()] == 1
    assert told["switchboard_queue_rows", queue("received")] == 7
    assert told["switchboard_queue_oldest_age_seconds", queue("received")] == pytest.approx(3600, abs=60)
    assert told["switchboard_queue_rows", queue("failed", of="outbound", outcome="unknown")] == 0
    assert told["switchboard_turns_total", (("result", "replied"),)] == 5
    assert told["switchboard_sends_total", (("result", "sent"),)] == 4
    model = (("gen_ai_provider_name", "uniapi"), ("gen_ai_request_model", 'm"1'))
    assert told["switchboard_today_turns", model] == 3
    assert told["switchboard_today_tokens", (*model, ("gen_ai_token_type", "input"))] == 300
    assert told["switchboard_today_cost_usd", model] == 0.25


async def test_balances_are_told_with_their_pace_where_the_provider_tells_them(
    api: Api, db: Connection
) -> None:
    await db.execute(
        """INSERT INTO et_provider_balances (provider, hour, asked_at, state, balance_usd, told_at)
           SELECT 'uniapi', date_trunc('hour', now()) - n * interval '1 day', now(), 'told', 10 + 2 * n,
                  now() - n * interval '1 day' - interval '30 seconds'
             FROM generate_series(0, 3) n
        UNION ALL SELECT 'zai', date_trunc('hour', now()), now(), 'untold', NULL, NULL"""
    )
    told = await scrape(api)
    uniapi, zai = ("gen_ai_provider_name", "uniapi"), ("gen_ai_provider_name", "zai")
    assert told["switchboard_provider_balance_usd", (uniapi,)] == 10
    assert told["switchboard_provider_balance_age_seconds", (uniapi,)] == pytest.approx(30, abs=20)
    assert told["switchboard_provider_burn_usd_per_day", (uniapi,)] == pytest.approx(2)
    assert told["switchboard_provider_days_left", (uniapi,)] == pytest.approx(5)
    assert told["switchboard_provider_balance_state", (uniapi, ("state", "told"))] == 1
    assert told["switchboard_provider_balance_state", (zai, ("state", "untold"))] == 1
    assert told["switchboard_provider_balance_state", (zai, ("state", "told"))] == 0
    assert ("switchboard_provider_balance_usd", (zai,)) not in told


async def test_open_incidents_are_counted_by_rule(api: Api, db: Connection) -> None:
    await db.execute(
        """INSERT INTO et_incidents (rule, subject, what, resolved_at)
           VALUES ('spend', 'tenant:1', 'x', NULL), ('spend', 'tenant:2', 'x', NULL),
                  ('queue', 'inbound', 'x', now())"""
    )
    told = await scrape(api)
    assert told["switchboard_incidents", (("rule", "spend"),)] == 2
    assert ("switchboard_incidents", (("rule", "queue"),)) not in told


async def test_a_blocker_shows_and_a_broken_schema_is_still_answered(api: Api, db: Connection) -> None:
    api.snapshot.blockers = [Blocker(code="llm.down", what="x", where="y", remedy="z")]
    told = await scrape(api)
    assert told["switchboard_ready", ()] == 0
    assert told["switchboard_blockers", (("code", "llm.down"),)] == 1
    await db.execute("ALTER TABLE et_usage_hourly RENAME TO gone")
    told = await scrape(api)
    assert told["switchboard_ready", ()] == 0
    assert not any(name.startswith("switchboard_today") for name, _ in told)


async def test_a_scrape_reads_no_history(api: Api, db: Connection, pool: Pool) -> None:
    """The messages table is never read from end to end."""
    await db.execute(
        """INSERT INTO et_messages (tenant_id, thread_id, channel, direction, delivery_status)
           SELECT 1, 1, 'simulator', 'outbound', 'sent' FROM generate_series(1, 20000)"""
    )
    await db.execute("ANALYZE et_messages")

    async def rows_read() -> int:
        async with pool.connection() as connection:
            await connection.execute("SELECT pg_stat_force_next_flush()")
            await connection.execute("SELECT pg_stat_clear_snapshot()")
            cursor = await connection.execute(
                "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'et_messages'"
            )
            row = await cursor.fetchone()
        assert row is not None
        return int(row["seq_tup_read"])

    await scrape(api)
    before = await rows_read()
    await scrape(api)
    assert await rows_read() == before
    async with pool.connection() as connection:
        await connection.execute(
            "SELECT count(*) FROM (SELECT * FROM et_messages OFFSET 0) m WHERE text_content = 'x'"
        )
    assert await rows_read() > before, "the gauge itself works"
