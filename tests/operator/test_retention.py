"""Retention: what is past its time goes, the rest and everything that order rests on stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.operator.audit import BadInput, ReadOnly
from engine.operator.bulk import Stop
from engine.operator.configuration import change_setting
from engine.operator.retention import BATCH, KINDS, preview, retain
from engine.settings import load_settings
from tests.operator.world import ANNA, GUEST, World
from tests.support.trip import trip

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
        "prompts": 2 * BATCH + 1, "traces": 0, "payloads": 0, "quarantine": 1, "incidents": 0, "engines": 0,
        "audit": 0,
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


async def test_what_a_run_would_take_is_what_it_takes(w: World) -> None:
    await plant(w, OLD, BATCH + 3)
    await plant(w, NEW, 2)
    await change_setting(w.pool, ANNA, "retention", {"audit": 30.0, "traces": 30.0})
    await w.query("UPDATE et_turns SET attempts = '[{}]'")
    before = {due.kind: due for due in await preview(w.pool, load_settings())}
    assert (before["prompts"].due, before["traces"].due, before["payloads"].due) == (BATCH + 3, BATCH + 3, 0)
    oldest = before["prompts"].oldest
    assert oldest is not None
    seen: list[tuple[int, int]] = []
    done = await retain(w.pool, ANNA, load_settings(), lambda *told: seen.append(told))
    assert {kept.kind: kept.gone for kept in done} == {kind: due.due for kind, due in before.items()}
    assert seen[-1] == (sum(due.due for due in before.values()),) * 2
    after = {due.kind: due for due in await preview(w.pool, load_settings())}
    assert all(due.due == 0 and due.oldest is None for due in after.values())
    assert (after["prompts"].ran_by, after["prompts"].ran_gone) == (ANNA.name, BATCH + 3)
    assert after["payloads"].ran_at is None


async def test_traces_go_and_what_was_said_and_paid_stays(w: World) -> None:
    await plant(w, OLD, 2)
    await plant(w, NEW, 1)
    await w.query(
        "UPDATE et_turns SET attempts = '[{}]', verdicts = '[{}]', context = '{\"a\": 1}', cost_usd = 0.5"
    )
    await retain(w.pool, ANNA, load_settings(keep_traces_days=30))
    left = await w.query(
        "SELECT attempts, verdicts, context, cost_usd::float AS cost, outcome FROM et_turns ORDER BY id"
    )
    bare = {"attempts": [], "verdicts": [], "context": {}, "cost": 0.5, "outcome": "replied"}
    assert left[:2] == [bare, bare]
    assert left[2] == {**bare, "attempts": [{}], "verdicts": [{}], "context": {"a": 1}}
    traces = await w.query(
        "SELECT raw_payload ? 'ai_trace' AS traced, text_content FROM et_messages ORDER BY id"
    )
    assert [(row["traced"], row["text_content"]) for row in traces] == [(False, "kept")] * 2 + [
        (True, "kept")
    ]


async def test_of_raw_payloads_only_what_the_trip_needs_stays(w: World) -> None:
    kept = {"from": "+49", "name": "Ada", "kind": "image"}
    await w.query(
        """INSERT INTO et_messages (tenant_id, channel, direction, delivery_status, raw_payload, created_at)
           SELECT 1, 'simulator', 'inbound', 'received', p::jsonb, now() - a::interval
             FROM (VALUES ('{"from": "+49", "name": "Ada", "kind": "image", "secret": {"a": 1}}', '2 years'),
                          ('["a list"]', '2 years'), (NULL, '2 years'), ('{"from": "+50"}', '2 years'),
                          ('{"from": "+51", "secret": 2}', '2 years'), ('{"from": "+52", "secret": 3}', '1 day'),
                          ('{"from": "+53", "secret": 4}', '2 years')) AS v(p, a)"""
    )
    first = (await w.one("SELECT max(id) - 7 AS id FROM et_messages"))["id"]
    settings = load_settings(keep_payloads_days=365)
    assert next(due.due for due in await preview(w.pool, settings) if due.kind == "payloads") == 4
    done = {kept.kind: kept.gone for kept in await retain(w.pool, ANNA, settings)}
    left = await w.query("SELECT raw_payload AS p FROM et_messages WHERE id > %s ORDER BY id", first)
    assert [row["p"] for row in left] == [
        kept, [], None, {"from": "+50"}, {"from": "+51"}, {"from": "+52", "secret": 3}, {"from": "+53", "secret": 4},
    ]  # fmt: skip
    assert done["payloads"] == 3, "nothing is passed over before what is young has come to its age"
    await w.query("UPDATE et_messages SET created_at = created_at - interval '2 years'")
    assert {kept.kind: kept.gone for kept in await retain(w.pool, ANNA, settings)}["payloads"] == 2


async def test_days_are_checked_kept_and_taken_back(w: World) -> None:
    for bad in ({"prompts": -1.0}, {"prompts": float("nan")}, {"engines": 0.0}, {"nothing": 3.0}):
        with pytest.raises(BadInput):
            await change_setting(w.pool, ANNA, "retention", bad)
    with pytest.raises(ReadOnly):
        await change_setting(w.pool, GUEST, "retention", {"prompts": 3.0})
    assert await change_setting(w.pool, ANNA, "retention", {"prompts": 3.0}) == {"prompts": 3.0}
    assert await change_setting(w.pool, ANNA, "retention", {"traces": 9.0}) == {"prompts": 3.0, "traces": 9.0}
    days = {due.kind: due.days for due in await preview(w.pool, load_settings())}
    assert (days["prompts"], days["traces"], set(days)) == (3.0, 9.0, set(KINDS))
    assert await change_setting(w.pool, ANNA, "retention", {"prompts": None}) == {"traces": 9.0}
    assert len(await w.audits("setting.set")) == 3


async def test_a_run_that_is_stopped_leaves_the_rest_for_the_next(w: World) -> None:
    await plant(w, OLD, BATCH + 1)

    def stop(done: int, total: int) -> None:
        raise Stop

    await retain(w.pool, ANNA, load_settings(), stop)
    assert (await w.one("SELECT count(context_prompt) AS n FROM et_turns"))["n"] == 1


def test_an_engine_lets_go_when_it_starts(dsn: str, tmp_path: Path) -> None:
    with trip(dsn, tmp_path) as world:
        world.connection.execute(
            "INSERT INTO et_intake_quarantine (at, channel, why) VALUES (now() - interval '40 days', 'waha', 'x')"
        )
        world.start()
        world.until(lambda: world.query("SELECT FROM et_intake_quarantine") == [])
