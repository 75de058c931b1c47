"""Retention: what is past its time goes, the rest and everything that order rests on stays."""

from __future__ import annotations

import pytest

from engine.operator.audit import ReadOnly
from engine.operator.retention import BATCH, retain
from engine.settings import load_settings
from tests.operator.world import ANNA, GUEST, World

OLD, NEW = "40 days", "20 days"


async def plant(w: World, age: str, rows: int) -> None:
    await w.query(
        """WITH m AS (INSERT INTO et_messages (tenant_id, thread_id, channel, direction, delivery_status, text_content,
                                              raw_payload)
                      SELECT 1, 1, 'simulator', 'outbound', 'sent', 'kept',
                             '{"ai_trace": {"context_prompt": "secret", "model": "m"}}'
                        FROM generate_series(1, %s) RETURNING id)
           INSERT INTO et_turns (tenant_id, thread_id, message_id, reply_message_id, outcome, context_prompt,
                                 finished_at)
           SELECT 1, 1, id, id, 'replied', 'secret', now() - %s::interval FROM m""",
        rows,
        age,
    )
    await w.query(
        "INSERT INTO et_intake_quarantine (at, channel, why, body) VALUES (now() - %s::interval, 'waha', 'x', 'y')",
        age,
    )
    await w.query(
        "INSERT INTO et_audit_log (at, actor, act, subject) VALUES (now() - %s::interval, 'a', 'b', 'c')", age
    )


async def test_what_is_past_its_time_goes_and_messages_stay(w: World) -> None:
    await plant(w, OLD, 2 * BATCH + 1)
    await plant(w, NEW, 3)
    done = await retain(w.pool, ANNA, load_settings())
    assert {kept.kind: kept.gone for kept in done} == {
        "prompts": 2 * BATCH + 1, "quarantine": 1, "incidents": 0, "engines": 0, "audit": 0,
    }  # fmt: skip
    left = await w.one("SELECT count(*) AS turns, count(context_prompt) AS prompts FROM et_turns")
    assert (left["turns"], left["prompts"]) == (2 * BATCH + 4, 3)
    traces = await w.one(
        """SELECT count(*) AS messages, count(raw_payload #>> '{ai_trace,context_prompt}') AS prompts,
                  count(raw_payload #>> '{ai_trace,model}') AS models, count(text_content) AS texts FROM et_messages"""
    )
    assert list(traces.values()) == [2 * BATCH + 4, 3, 2 * BATCH + 4, 2 * BATCH + 4]
    told = [entry["after"] for entry in await w.audits("retention")]
    assert told == [{"prompts": BATCH}, {"prompts": BATCH}, {"prompts": 1}, {"quarantine": 1}]
    assert sum(kept.gone for kept in await retain(w.pool, ANNA, load_settings())) == 0
    assert len(await w.audits("retention")) == len(told)


async def test_the_audit_log_goes_only_when_said_so(w: World) -> None:
    await plant(w, OLD, 1)
    await plant(w, NEW, 1)
    await retain(w.pool, ANNA, load_settings(keep_audit_days=30, keep_prompts_days=0))
    assert len(await w.audits("b")) == 1
    assert (await w.one("SELECT count(context_prompt) AS n FROM et_turns"))["n"] == 2
    with pytest.raises(ReadOnly):
        await retain(w.pool, GUEST, load_settings())
