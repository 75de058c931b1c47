"""The demonstration behind the console: an invented past that keeps every rule, and faults that come and go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from engine.database.connection import open_pool
from engine.demo.bistro import NAME
from engine.demo.scenario import QUICK, Demo
from engine.model import AITrace, SwitchboardError
from engine.operator.audit import Operator
from engine.operator.replay import requeue
from engine.supervisor import migrate

pytestmark = pytest.mark.xdist_group("demo")  # they share one demonstration

PATIENCE = 20.0
#: Each finds rows that break a rule.
RULES = {
    "an answered message has one reply with one queue row": """
        SELECT m.id FROM et_messages m WHERE m.delivery_status = 'inbound_ai_replied' AND 1 <> (
            SELECT count(*) FROM et_messages r JOIN et_outbound_queue q ON q.message_id = r.id
             WHERE r.in_reply_to = coalesce(m.turn_head_id, m.id) AND r.author = 'ai')""",
    "inbound messages have ended": """
        SELECT id FROM et_messages WHERE direction = 'inbound' AND created_at < now() - interval '3 minutes'
           AND delivery_status NOT IN ('inbound_ai_replied', 'inbound_human_takeover')""",
    "a message and its queue row agree": """
        SELECT m.id FROM et_messages m JOIN et_outbound_queue q ON q.message_id = m.id
         WHERE (m.delivery_status, m.thread_id, m.channel, m.author) IS DISTINCT FROM
               (q.status, q.thread_id, q.channel, q.author)""",
    "times are in order": """
        SELECT id FROM et_messages
         WHERE created_at > coalesce(claimed_at, 'infinity') OR claimed_at > coalesce(replied_at, 'infinity')
            OR send_started_at > sent_at OR sent_at > delivered_at OR delivered_at > read_at
            OR created_at > now()""",
    "ids rise with time": """
        SELECT id FROM (SELECT id, created_at, lag(created_at) OVER (ORDER BY id) AS before FROM et_messages
                         WHERE created_at < now() - interval '3 minutes') x WHERE created_at < before""",
    "a reply comes after what it answers, in the same thread": """
        SELECT r.id FROM et_messages r JOIN et_messages m ON m.id = r.in_reply_to
         WHERE r.id <= m.id OR r.thread_id <> m.thread_id OR r.created_at < m.created_at""",
    "a thread's tokens and lead are its own": """
        SELECT m.id FROM et_messages m JOIN et_threads t ON t.id = m.thread_id
         WHERE m.lead_id <> t.lead_id OR m.tenant_id <> t.tenant_id OR m.claim_token > t.claim_token""",
    "each turn has its message, and its reply where it replied": """
        SELECT t.id FROM et_turns t LEFT JOIN et_messages m ON m.id = t.message_id
          LEFT JOIN et_messages r ON r.id = t.reply_message_id AND r.in_reply_to = m.id
         WHERE m.id IS NULL OR (t.outcome = 'replied') <> (r.id IS NOT NULL)""",
    "usage by the hour is the sum of the turns": """
        SELECT 1 FROM (SELECT sum(turns) AS turns, sum(cost_usd) AS usd, sum(prompt_tokens) AS tokens
                         FROM et_usage_hourly) u,
                      (SELECT count(*) AS turns, sum(cost_usd) AS usd, sum(prompt_tokens) AS tokens
                         FROM et_turns WHERE provider IS NOT NULL) t
         WHERE (u.turns, u.usd, u.tokens) IS DISTINCT FROM (t.turns, t.usd, t.tokens)""",
}


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """One with a past, whose customers are silent until asked."""
    with Demo(tempo=replace(QUICK, quiet=(0.2, 1.0)), plan=[], http=False) as running:
        yield running


@pytest.fixture
def query(demo: Demo) -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    with psycopg.connect(demo.database.dsn, autocommit=True, row_factory=dict_row) as connection:
        yield lambda sql: connection.execute(sql.encode()).fetchall()


Query = Callable[[str], list[dict[str, Any]]]


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_the_past_keeps_every_rule(demo: Demo, query: Query) -> None:
    for rule, broken in RULES.items():
        assert query(broken) == [], rule
    counts = query(
        "SELECT count(*) AS n, min(created_at) < now() - interval '5 days' AS old FROM et_messages"
    )
    assert counts[0]["n"] > 400
    assert counts[0]["old"]
    assert query("SELECT FROM et_threads WHERE owner = 'human'"), "somebody waits for a person"
    for row in query("SELECT raw_payload FROM et_messages WHERE author = 'ai' LIMIT 50"):
        AITrace.model_validate(row["raw_payload"]["ai_trace"])
    assert migrate(demo.database.dsn).ok
    assert query("SELECT name FROM et_tenants")[0]["name"] == NAME


def test_a_burst_is_answered_and_the_database_goes_on_where_the_past_ended(demo: Demo, query: Query) -> None:
    last = query("SELECT max(id) AS id FROM et_messages")[0]["id"]
    assert not demo.toggle("burst").on
    fresh = f"direction = 'inbound' AND id > {last}"
    until(lambda: len(query(f"SELECT id FROM et_messages WHERE {fresh}")) == 30, "thirty are written")
    until(
        lambda: not query(f"SELECT id FROM et_messages WHERE {fresh} AND replied_at IS NULL"),
        "all are answered",
    )
    until(lambda: not query("SELECT id FROM et_outbound_queue WHERE status <> 'sent'"), "all is sent")
    for rule, broken in RULES.items():
        assert query(broken) == [], rule


def test_broken_connections_leave_unknown_outcomes_that_receipts_settle(demo: Demo, query: Query) -> None:
    unknown = "SELECT id FROM et_outbound_queue WHERE outcome = 'unknown'"
    assert demo.toggle("channel-resets").on
    demo.toggle("burst")
    until(lambda: query(unknown), "there are unknown outcomes")
    unfinished = "SELECT id FROM et_outbound_queue WHERE status NOT IN ('sent', 'failed')"
    until(lambda: not query(unfinished) and not query(_UNANSWERED), "everything was tried")
    assert not demo.toggle("channel-resets").on
    until(lambda: not query(unknown), "receipts settle them")
    assert demo.channel.duplicates() == {}


async def test_refused_messages_end_as_errors_that_a_replay_answers(demo: Demo, query: Query) -> None:
    errors = "SELECT id, reason FROM et_messages WHERE delivery_status = 'inbound_error'"
    assert demo.toggle("llm-refuses").on
    demo.toggle("burst")
    await asyncio.to_thread(until, lambda: query(errors) and not query(_UNANSWERED), "all end as errors")
    failed = query(errors)
    assert {row["reason"] for row in failed} == {"llm.request"}
    assert not demo.toggle("llm-refuses").on
    pool = open_pool(demo.database.dsn, size=2)
    async with pool:
        await requeue(pool, Operator("walker", "test"), [row["id"] for row in failed])
    await asyncio.to_thread(
        until, lambda: not query(errors) and not query(_UNANSWERED), "replays answer them"
    )


def test_a_dropped_column_blocks_until_the_schema_is_migrated(demo: Demo) -> None:
    assert demo.toggle("schema-column").on
    until(lambda: demo.engine.snapshot().blockers, "the engine is blocked")
    assert next(fault for fault in demo.faults if fault.key == "schema-column").on
    migrate(demo.database.dsn)
    until(lambda: not demo.engine.snapshot().blockers, "the engine goes on")
    assert not any(fault.on for fault in demo.faults)


def test_faults_of_the_models_are_put_together(demo: Demo) -> None:
    assert (demo.llm.uniapi.mode, demo.llm.zai.mode) == ("ok", "ok")
    demo.toggle("uniapi-slow")
    demo.toggle("llm-down")
    assert (demo.llm.uniapi.mode, demo.llm.zai.mode) == ("503", "503")
    demo.toggle("llm-down")
    assert (demo.llm.uniapi.mode, demo.llm.zai.mode) == ("slow", "ok")
    demo.toggle("uniapi-slow")
    assert not any(fault.on for fault in demo.faults)
    with pytest.raises(SwitchboardError, match="no fault 'rain'"):
        demo.toggle("rain")


def test_nothing_of_the_persons_settings_gets_in(demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("UNIAPI_BASE_URL", "https://api.uniapi.io/v1"), ("TELEGRAM_BOT_TOKEN", "1:abc")):
        monkeypatch.setenv(name, value)
    settings = demo._settings()
    assert settings.uniapi_base_url.startswith("http://127.0.0.1:")
    assert settings.zai_base_url.startswith("http://127.0.0.1:")
    assert "1:abc" not in settings.secrets()


_UNANSWERED = """
SELECT id FROM et_messages WHERE direction = 'inbound' AND delivery_status IN ('received', 'inbound_processing')"""


def test_hostile_text_is_stored_as_written_and_answered_or_left_to_a_person(demo: Demo, query: Query) -> None:
    last = query("SELECT max(id) AS id FROM et_messages")[0]["id"]  # the past holds some, too
    assert not demo.toggle("hostile").on
    hostile = "text_content LIKE '%]52;c;%' OR text_content LIKE '''; DROP%'"
    written = (
        f"SELECT delivery_status FROM et_messages WHERE id > {last} AND direction = 'inbound' AND ({hostile})"
    )
    until(lambda: len(query(written)) == 2, "it is stored")
    ends = {"inbound_ai_replied", "inbound_human_takeover"}
    until(lambda: {row["delivery_status"] for row in query(written)} <= ends, "it has found its end")
