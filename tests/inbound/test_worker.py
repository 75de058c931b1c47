"""The trip, end to end: a provider's row in, a reply out, and everything that may happen in between."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from engine.database.directory import Directory, load_directory
from engine.inbound import claims
from engine.inbound.claims import Claim, claim_turns
from engine.llm.router import Router
from engine.model import AITrace
from engine.supervisor.collector import settle_collector
from tests.support.trip import Trip, trip


@pytest.fixture
def world(dsn: str, tmp_path: Path) -> Iterator[Trip]:
    with trip(dsn, tmp_path) as whole:
        yield whole


def test_a_row_of_core_columns_is_answered_and_dispatched(world: Trip) -> None:
    world.start()
    world.query(
        "INSERT INTO et_messages (tenant_id, lead_id, channel, direction, text_content, delivery_status)"
        " VALUES (1, 1, 'simulator', 'inbound', 'hello', 'received') RETURNING id"
    )
    message = world.one("SELECT * FROM et_messages WHERE direction = 'inbound'")
    reply = world.until_sent(message["id"])
    assert reply["thread_id"] == message["thread_id"]
    assert reply["llm_provider"] == "uniapi"
    assert reply["llm_model"] == "gemini-3-flash-preview"
    assert reply["llm_total_tokens"] == reply["llm_prompt_tokens"] + reply["llm_completion_tokens"]
    assert reply["llm_estimated_cost_usd"] > 0
    trace = AITrace.model_validate(reply["raw_payload"]["ai_trace"])
    assert trace.context_prompt is None
    assert world.one("SELECT status FROM et_outbound_queue")["status"] == "sent"
    assert [arrival.text for arrival in world.channel.arrivals()] == [reply["text_content"]]
    turn = world.turn(message["id"])
    assert turn["outcome"] == "replied"
    assert turn["reply_message_id"] == reply["id"]
    assert turn["started_at"] <= turn["context_at"] <= turn["answered_at"]
    assert world.one("SELECT turns FROM et_usage_hourly")["turns"] == 1


def test_a_stranger_becomes_a_lead_and_keeps_its_thread(world: Trip) -> None:
    world.start()
    first = world.insert("hello", sender="+420777", payload={"name": "Petra"})
    world.until_sent(first)
    second = world.insert("and again", sender="+420777")
    world.until_sent(second)
    assert world.message(first)["lead_id"] == world.message(second)["lead_id"] is not None
    assert world.message(first)["thread_id"] == world.message(second)["thread_id"]
    lead = world.one("SELECT * FROM et_leads")
    assert lead["name"] == "Petra"
    assert (
        world.one("SELECT lead_id FROM et_lead_addresses WHERE address = '+420777'")["lead_id"] == lead["id"]
    )


def test_a_lead_under_a_foreign_number_does_not_stop_new_ones(world: Trip) -> None:
    world.start()
    known = world.insert("hi", sender="a", lead_id=1)
    world.until_sent(known)
    stranger = world.insert("hi", sender="b")
    world.until_sent(stranger)
    assert world.message(stranger)["lead_id"] not in (None, 1)


def test_a_burst_is_answered_once_after_the_quiet_window(world: Trip) -> None:
    world.quiet(0.6, 5)
    world.start()
    ids = [world.insert(text) for text in ("hello", "are you open", "on sunday?")]
    world.until_sent(ids[-1])
    assert [world.message(i)["delivery_status"] for i in ids] == ["inbound_ai_replied"] * 3
    assert len(world.channel.arrivals()) == 1
    prompt = world.llm.uniapi.calls[-1].body["messages"][-1]["content"]
    assert prompt == "hello\nare you open\non sunday?"


def test_the_quiet_window_is_capped(world: Trip) -> None:
    world.quiet(0.5, 1.0)
    world.start()
    first = world.insert("one")
    end = time.monotonic() + 2.0
    while time.monotonic() < end:
        time.sleep(0.3)
        world.insert("and more")
    assert world.message(first)["delivery_status"] == "inbound_ai_replied", (
        "it waited for a silence that never came"
    )


def test_a_message_that_comes_while_the_model_thinks_restarts_the_turn_once(world: Trip) -> None:
    world.quiet(0.1, 5)
    world.llm.uniapi.latency_seconds = 0.6
    world.start()
    first = world.insert("I would like to order")
    world.until_status(first, "inbound_processing")
    time.sleep(0.2)
    second = world.insert("two pizzas please")
    world.until_sent(first)
    assert world.message(second)["turn_head_id"] == first
    assert len(world.channel.arrivals()) == 1
    turn = world.turn(first)
    assert len(turn["attempts"]) == 2
    assert turn["cost_usd"] > world.reply_to(first)["llm_estimated_cost_usd"]  # type: ignore[index]


def test_a_turn_that_is_started_over_sets_aside_what_it_has_cost(world: Trip) -> None:
    world.quiet(0.1, 5)
    world.setting("daily_budget_usd", 1.0)
    world.llm.uniapi.latency_seconds = 0.8
    world.start()
    first = world.insert("I would like to order")
    world.until(lambda: world.llm.uniapi.calls)
    assert world.one("SELECT reserved_usd FROM et_threads")["reserved_usd"] == Decimal("0.05")
    world.insert("two pizzas please")
    world.until(lambda: len(world.llm.uniapi.calls) == 2)
    reserved = world.one("SELECT reserved_usd FROM et_threads")["reserved_usd"]
    world.until_sent(first)
    wasted = world.turn(first)["cost_usd"] - world.reply_to(first)["llm_estimated_cost_usd"]  # type: ignore[index]
    assert wasted > 0
    assert reserved == pytest.approx(Decimal("0.05") + wasted, abs=Decimal("0.000002"))


def test_a_turn_that_is_started_over_for_a_person_has_cost_what_it_cost(world: Trip) -> None:
    world.quiet(0.1, 5)
    world.llm.uniapi.latency_seconds = 0.8
    world.start()
    first = world.insert("I would like to order")
    world.until(lambda: world.llm.uniapi.calls)
    world.insert("no, let me talk to a real person")
    assert world.until_status(first, "inbound_human_takeover")["reason"] == "policy.human_requested"
    turn = world.turn(first)
    assert turn["cost_usd"] > 0
    assert world.one("SELECT provider, cost_usd FROM et_usage_hourly") == {
        "provider": "uniapi",
        "cost_usd": turn["cost_usd"],
    }


def test_an_answer_is_not_lost_with_the_messages_that_came_after(
    world: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> list[Any]:
        raise psycopg.OperationalError("the connection broke")

    monkeypatch.setattr(claims, "extend_turn", broken)
    world.quiet(0.1, 5)
    world.llm.uniapi.latency_seconds = 0.6
    world.start()
    first = world.insert("I would like to order")
    world.until(lambda: world.llm.uniapi.calls)
    second = world.insert("two pizzas please")
    world.until_sent(first)
    world.until_sent(second)
    assert world.message(second)["turn_head_id"] is None, "it was answered after the other"
    assert len(world.llm.uniapi.calls) == 2, "nothing was paid for twice"


def test_a_turn_is_recorded_under_the_version_that_answered(world: Trip) -> None:
    world.llm.uniapi.latency_seconds = 0.8
    world.start()
    message = world.insert("hello")
    world.until(lambda: world.llm.uniapi.calls)
    world.query(
        "WITH v AS (INSERT INTO et_agent_versions (agent_id, version, prompt) SELECT id, 2, 'new' FROM et_agents"
        " RETURNING agent_id) UPDATE et_agents SET active_version = 2 FROM v WHERE id = v.agent_id RETURNING id"
    )
    world.until_sent(message)
    assert world.turn(message)["agent_version"] == 1


def test_one_turn_a_thread_and_order_kept(world: Trip) -> None:
    world.llm.uniapi.latency_seconds = 0.05
    ids = [world.insert(f"question {n}", sender=f"p{n % 3}") for n in range(15)]
    world.start()
    for message_id in ids:
        world.until_sent(message_id)
    for thread in world.query("SELECT id FROM et_threads"):
        rows = world.query(
            "SELECT in_reply_to, sent_at FROM et_messages WHERE thread_id = %s AND direction = 'outbound' ORDER BY id",
            thread["id"],
        )
        assert [row["in_reply_to"] for row in rows] == sorted(row["in_reply_to"] for row in rows)
        assert [row["sent_at"] for row in rows] == sorted(row["sent_at"] for row in rows)


def test_a_customer_who_asks_for_a_person_gets_one(world: Trip) -> None:
    world.start()
    asked = world.insert("can I talk to a real person please?")
    row = world.until_status(asked, "inbound_human_takeover")
    assert row["reason"] == "policy.human_requested"
    assert world.one("SELECT owner, epoch FROM et_threads") == {"owner": "human", "epoch": 1}
    after = world.insert("hello?")
    assert world.until_status(after, "inbound_human_takeover")["reason"] == "takeover.owned"
    assert not world.llm.uniapi.calls


def test_stop_silences_and_start_speaks_again(world: Trip) -> None:
    world.start()
    world.until_sent(world.insert("hi"))
    assert world.until_status(world.insert("STOP"), "inbound_human_takeover")["reason"] == "policy.opt_out"
    assert world.until_status(world.insert("hm"), "inbound_human_takeover")["reason"] == "policy.opt_out"
    world.until_sent(world.insert("START"))
    world.until_sent(world.insert("hello again"))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("said", "out"),
    [
        (["STOP"], True),
        ([" Stop!! "], True),
        (["odhlásit."], True),
        (["stop the order", "please do not unsubscribe me", "non\nstop"], False),
        (["stop", "START"], False),
        (["start", "Opt-out"], True),
    ],
)
def test_stop_is_heard_while_a_person_answers(world: Trip, known: bool, said: list[str], out: bool) -> None:
    """Of a customer whom the AI has answered before, and of one it has not seen."""
    if known:
        world.start()
    first = world.insert("hi")
    if known:
        world.until_sent(first)
    world.query("UPDATE et_threads SET owner = 'human', epoch = epoch + 1 RETURNING id")
    if not known:
        world.start()
    for text in said:
        assert world.until_status(world.insert(text), "inbound_human_takeover")["reason"] == "takeover.owned"
    asked = len(world.llm.uniapi.calls)
    assert asked == known
    world.query("UPDATE et_threads SET owner = 'ai', epoch = epoch + 1 RETURNING id")
    ended = world.until_status(world.insert("are you there?"), "inbound_human_takeover", "inbound_ai_replied")
    assert (ended["reason"] == "policy.opt_out") == out
    assert len(world.llm.uniapi.calls) - asked == (not out)
    assert [row["out"] for row in world.query("SELECT opted_out_at IS NOT NULL AS out FROM et_leads")] == [
        out
    ]


def test_an_old_message_is_left_to_a_person(world: Trip) -> None:
    world.start()
    old = world.insert("anyone?", created_at="2020-01-01")
    assert world.until_status(old, "inbound_human_takeover")["reason"] == "policy.stale"


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"text": None}, "empty_message"),
        ({"text": "hi", "lead_id": 5}, "lead_of_other_tenant"),
        ({"text": "hi", "sender": None}, "no_sender"),
    ],
)
def test_a_bad_row_is_an_error_of_its_own(world: Trip, columns: dict[str, object], reason: str) -> None:
    world.query("INSERT INTO et_leads (id, tenant_id) OVERRIDING SYSTEM VALUE VALUES (5, 99) RETURNING id")
    world.start()
    sender = columns.pop("sender", "someone")
    bad = world.insert(columns.pop("text"), sender=sender, **columns)  # type: ignore[arg-type]
    good = world.insert("hello", sender="other")
    assert world.until_status(bad, "inbound_error")["reason"] == reason
    world.until_sent(good)


def test_a_fresh_message_is_answered_with_the_old_one_before_it(world: Trip) -> None:
    world.quiet(0.2)
    world.setting("ai_paused", True)
    world.start()
    old = world.insert("anyone?", created_at="2020-01-01")
    fresh = world.insert("still nobody?")
    world.setting("ai_paused", False)
    world.until_sent(fresh)
    assert world.message(old)["delivery_status"] == "inbound_ai_replied"


def test_the_loop_guard_counts_beyond_the_history_it_reads(world: Trip) -> None:
    """Line by line, the default of 30 replies an hour is more than the history holds."""
    world.start()
    world.until_sent(world.insert("hello", sender="bot"))
    thread = world.one("SELECT id FROM et_threads")["id"]
    with world.connection.transaction():
        world.connection.execute("SET LOCAL session_replication_role = replica")
        world.connection.execute(
            "INSERT INTO et_messages (tenant_id, channel, thread_id, direction, author, text_content, delivery_status)"
            " SELECT 1, 'simulator', %s, d.direction, d.author, 'word ' || n, d.status FROM generate_series(1, 28) n,"
            " (VALUES ('inbound', 'customer', 'inbound_ai_replied'), ('outbound', 'ai', 'sent'))"
            "     AS d(direction, author, status)",
            [thread],
        )
    world.until_sent(world.insert("the thirtieth answer", sender="bot"))
    one_more = world.insert("and one more?", sender="bot")
    assert world.until_status(one_more, "inbound_human_takeover")["reason"] == "policy.loop_guard"


def test_without_an_agent_a_person_answers(world: Trip) -> None:
    world.start()
    message = world.insert("hello", tenant_id=77)
    assert world.until_status(message, "inbound_human_takeover")["reason"] == "policy.no_agent"


@pytest.mark.parametrize(
    "mode", ["401", "403", "429", "429-money", "500", "empty", "truncated", "reset", "huge"]
)
def test_when_uniapi_fails_zai_answers(world: Trip, mode: str) -> None:
    world.llm.uniapi.mode = mode
    world.start()
    message = world.insert("hello")
    reply = world.until_sent(message)
    assert reply["llm_provider"] == "zai"
    assert reply["raw_payload"]["ai_trace"]["provider"] == "zai"
    attempts = world.turn(message)["attempts"]
    assert attempts[0]["provider"] == "uniapi"
    assert not attempts[0]["ok"]
    assert attempts[-1]["provider"] == "zai"
    assert attempts[-1]["ok"]


def test_when_uniapi_hangs_zai_answers_inside_the_deadline(world: Trip) -> None:
    world.llm.uniapi.mode = "hang"
    world.start(turn_deadline_seconds=4.0)
    message = world.insert("hello")
    reply = world.until_sent(message)
    assert reply["llm_provider"] == "zai"
    turn = world.turn(message)
    assert (turn["answered_at"] - turn["started_at"]).total_seconds() < 4.5


def test_when_nobody_answers_the_message_waits_and_is_answered_later(world: Trip) -> None:
    world.llm.uniapi.mode = world.llm.zai.mode = "500"
    world.start()
    message = world.insert("hello")
    world.until(lambda: world.query("SELECT FROM et_turns WHERE outcome = 'retry'"))
    assert world.until_status(message, "received")["reason"].startswith("llm.")
    world.query("UPDATE et_threads SET due_at = now() RETURNING id")
    world.llm.uniapi.mode = world.llm.zai.mode = "ok"
    world.until_sent(message)


def test_the_prompt_is_recorded_only_when_asked_for(world: Trip) -> None:
    world.setting("record_context_prompt", True)
    world.start()
    reply = world.until_sent(world.insert("hello"))
    assert "hello" in reply["raw_payload"]["ai_trace"]["context_prompt"]
    world.setting("record_context_prompt", False)
    time.sleep(0.3)
    reply = world.until_sent(world.insert("hello again"))
    assert reply["raw_payload"]["ai_trace"]["context_prompt"] is None


def test_routing_from_the_database_is_live_and_bad_routing_keeps_the_last_good_one(world: Trip) -> None:
    engine = world.start()
    world.setting("llm_routing_config", {"default": [{"provider": "zai", "model": "glm-4.7-flash"}]})
    world.until(lambda: world.until_sent(world.insert("hi"))["llm_provider"] == "zai")
    world.setting("llm_routing_config", {"default": [{"provider": "nobody", "model": "x"}]})
    world.until(lambda: any(w.code == "llm.routing" for w in engine.snapshot().warnings))
    assert world.until_sent(world.insert("hi"))["llm_provider"] == "zai"


def test_the_kill_switch_stops_claims_and_nothing_is_lost(world: Trip) -> None:
    world.setting("ai_paused", True)
    engine = world.start()
    message = world.insert("hello")
    world.until(lambda: engine.snapshot().inbound_worker.state == "paused")
    time.sleep(0.6)
    assert world.message(message)["delivery_status"] == "received"
    world.setting("ai_paused", False)
    world.until_sent(message)


def test_the_kill_switch_is_not_undone_by_settings_that_were_read_before(
    world: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = world.start()
    read: list[Directory] = []

    async def dawdling(*args: Any) -> Directory:
        found = await load_directory(*args)
        read.append(found)
        if len(read) == 1:
            await asyncio.sleep(1.0)  # its answer is under way while the switch is thrown
        return found

    monkeypatch.setattr("engine.supervisor.engine.load_directory", dawdling)
    world.quiet(0)
    world.until(lambda: read)
    world.setting("ai_paused", True)
    world.until(lambda: len(read) > 1)
    time.sleep(1.2)
    assert engine._directory.settings.ai_paused


def test_a_takeover_while_the_model_thinks_keeps_the_text_as_a_draft(world: Trip) -> None:
    world.llm.uniapi.latency_seconds = 1.0
    world.start()
    message = world.insert("hello")
    world.until_status(message, "inbound_processing")
    world.until(lambda: world.llm.uniapi.calls)
    world.query(
        "WITH t AS (UPDATE et_threads SET owner = 'human', epoch = epoch + 1, holder = NULL, lease_until = NULL,"
        " claim_token = claim_token + 1 RETURNING id) UPDATE et_messages m SET lease_until = NULL,"
        " delivery_status = 'inbound_human_takeover' FROM t WHERE m.thread_id = t.id RETURNING m.id"
    )
    turn = world.until(lambda: world.query("SELECT * FROM et_turns"))[0]
    assert turn["outcome"] == "drafted"
    assert turn["draft"]
    assert world.message(message)["delivery_status"] == "inbound_human_takeover"
    assert world.reply_to(message) is None
    assert world.channel.arrivals() == []


def test_an_agent_that_only_suggests_leaves_a_draft_for_a_person(world: Trip) -> None:
    world.query("UPDATE et_agents SET mode = 'suggest' RETURNING id")
    world.start()
    message = world.insert("hello")
    world.until_status(message, "inbound_human_takeover")
    row = world.message(message)
    assert row["reason"] == "suggested"
    (turn,) = world.query("SELECT * FROM et_turns")
    assert (turn["outcome"], turn["reply_message_id"]) == ("takeover", None)
    assert turn["draft"] and turn["cost_usd"] > 0
    (thread,) = world.query("SELECT owner, holder FROM et_threads")
    assert thread == {"owner": "ai", "holder": None}
    assert world.channel.arrivals() == []


def test_one_thread_can_be_only_drafted_for_and_the_others_answered(world: Trip) -> None:
    world.start()
    world.until_sent(world.insert("hello", sender="anna"))
    world.query("UPDATE et_threads SET mode = 'suggest' WHERE address = 'anna' RETURNING id")
    drafted, answered = world.insert("and now?", sender="anna"), world.insert("hello", sender="bob")
    world.until_sent(answered)
    world.until_status(drafted, "inbound_human_takeover")
    assert world.message(drafted)["reason"] == "suggested"
    world.query("UPDATE et_agents SET mode = 'suggest' RETURNING id")
    world.query("UPDATE et_threads SET mode = 'auto' WHERE address = 'anna' RETURNING id")
    world.until_sent(world.insert("still there?", sender="anna"))
    other = world.insert("me too", sender="bob")
    world.until_status(other, "inbound_human_takeover")


def test_a_dropped_column_stops_claims_and_migration_brings_it_back(world: Trip) -> None:
    engine = world.start()
    world.until_sent(world.insert("before"))
    world.connection.execute("ALTER TABLE et_messages DROP COLUMN llm_total_tokens")
    dropped = time.monotonic()
    world.until(lambda: any(b.code == "schema.column_missing" for b in engine.snapshot().blockers))
    assert time.monotonic() - dropped < 5
    waiting = world.insert("during")
    time.sleep(1.0)
    assert world.message(waiting)["delivery_status"] == "received"
    from engine.database.migrations import migrate

    assert migrate(world.dsn).ok
    world.until_sent(waiting)
    assert engine.snapshot().blockers == []


def test_a_clean_stop_gives_back_what_it_holds(world: Trip) -> None:
    world.llm.uniapi.mode = "hang"
    world.start()
    message = world.insert("hello")
    world.until_status(message, "inbound_processing")
    world.stop()
    assert world.message(message)["delivery_status"] == "received"
    assert world.message(message)["reason"] == "released"
    world.llm.uniapi.mode = "ok"
    world.start()
    world.until_sent(message)


@pytest.mark.parametrize("mode", ["starved", "empty"])
def test_what_a_turn_without_a_reply_has_cost_counts_too(world: Trip, mode: str) -> None:
    world.llm.uniapi.mode = world.llm.zai.mode = mode
    world.setting(
        "llm_routing_config", {"default": [{"provider": "uniapi", "model": "gemini-3-flash-preview"}]}
    )
    world.start(max_attempts=1)
    message = world.insert("hello")
    world.until_status(message, "inbound_error")
    turn = world.turn(message)
    assert (turn["provider"], turn["reply_message_id"]) == ("uniapi", None)
    assert turn["cost_usd"] > 0
    assert world.one("SELECT sum(cost_usd) AS usd FROM et_usage_hourly")["usd"] == turn["cost_usd"]


def test_a_stop_during_a_claim_leaves_nothing_behind(world: Trip, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed: list[Claim] = []

    async def slow(*args: Any, **options: Any) -> list[Claim]:
        found = await claim_turns(*args, **options)
        claimed.extend(found)
        await asyncio.sleep(0.5 if found else 0)  # the answer is under way
        return found

    monkeypatch.setattr(claims, "claim_turns", slow)
    world.llm.uniapi.mode = "hang"
    world.start()
    message = world.insert("hello")
    world.until(lambda: claimed)
    world.stop()
    assert world.message(message)["delivery_status"] == "received", "nobody waits for its lease to run out"


def test_budget_is_reserved_before_the_call(world: Trip) -> None:
    world.setting("daily_budget_usd", 0.06)
    world.start()
    world.llm.uniapi.latency_seconds = 0.5
    ids = [world.insert("hello", sender=f"p{n}") for n in range(5)]
    for message_id in ids:
        world.until_status(message_id, "inbound_ai_replied", "inbound_human_takeover")
    reasons = [world.message(message_id)["reason"] for message_id in ids]
    assert reasons.count("policy.budget") == 4, "one reservation of 0.05 USD fits, and no other beside it"
    assert len(world.llm.uniapi.calls) == 1


def test_notify_lost_is_made_up_for_by_the_poll(world: Trip) -> None:
    world.start()
    world.connection.execute("ALTER TABLE et_messages DISABLE TRIGGER et_messages_mailbox")
    message = world.insert("hello")
    world.connection.execute("ALTER TABLE et_messages ENABLE TRIGGER et_messages_mailbox")
    world.query("UPDATE et_threads SET due_at = now() RETURNING id")
    world.until_sent(message)


def test_the_collector_comes_back_though_the_price_table_cannot_be_read(
    world: Trip, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreadable(router: Router) -> None:
        raise OSError("cost.json: Input/output error")

    monkeypatch.setattr(Router, "warm", unreadable)
    settle_collector.cache_clear()
    gc.disable()  # as while a process loads
    try:
        world.start()
        world.until(gc.isenabled)
    finally:
        gc.enable()


def test_an_answer_is_kept_while_the_schema_is_broken(world: Trip) -> None:
    from engine.database.migrations import migrate

    world.llm.uniapi.latency_seconds = 1.0
    world.start()
    message = world.insert("hello")
    world.until(lambda: world.llm.uniapi.calls)
    world.connection.execute("ALTER TABLE et_messages DROP COLUMN llm_model")
    time.sleep(3)
    assert world.message(message)["delivery_status"] == "inbound_processing"
    assert migrate(world.dsn).ok
    world.until_sent(message)
    assert len(world.llm.uniapi.calls) == 1, "the model was asked once"


def test_what_postgres_cannot_hold_is_cleaned_from_an_answer(world: Trip) -> None:
    world.llm.uniapi.reply = lambda _: "Hello \x00 there"
    world.start()
    assert world.until_sent(world.insert("hello"))["text_content"] == "Hello  there"
