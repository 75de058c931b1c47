"""“Why no reply?” in one plain sentence, for every state a message can be in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from engine.model import InboundStatus, TurnOutcome
from engine.observe.no_reply import SCHEMA_SENTENCE, explain, why_no_reply
from engine.operator.configuration import set_setting
from engine.operator.reply import send_reply
from engine.operator.takeover import extend, release, take_over
from engine.operator.tenants import update_tenant
from tests.operator.world import ANNA, World, world


@pytest.fixture
async def w(dsn: str) -> AsyncIterator[World]:
    async with world(dsn) as made:
        await engine(made)
        yield made


async def engine(w: World, state: str = "running", blockers: Any = (), paused: Any = ()) -> None:
    """A live engine that says this of itself."""
    snapshot = {
        "inbound_worker": {"state": state},
        "outbound_dispatcher": {"paused_channels": list(paused)},
        "blockers": list(blockers),
    }
    await w.query("DELETE FROM et_engines")
    await w.query("INSERT INTO et_engines (name, snapshot) VALUES ('engine-1', %s)", Jsonb(snapshot))


async def why(w: World, message_id: int) -> str:
    sentence = await why_no_reply(w.pool, message_id)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert ". " not in sentence.replace("e.g. ", ""), "it is one sentence"
    return sentence


# Received


async def test_it_is_due(w: World) -> None:
    message_id = await w.insert()
    assert await why(w, message_id) == "It is due and will be claimed in a moment."


async def test_no_engine(w: World) -> None:
    message_id = await w.insert()
    await w.query("UPDATE et_engines SET heartbeat_at = now() - interval '20 seconds'")
    assert "No engine is running" in await why(w, message_id)
    await w.query("UPDATE et_engines SET heartbeat_at = now(), stopped_at = now()")
    assert "No engine is running" in await why(w, message_id)


async def test_the_kill_switch(w: World) -> None:
    message_id = await w.insert()
    await set_setting(w.pool, ANNA, "ai_paused", True)
    assert "paused for everyone" in await why(w, message_id)
    await set_setting(w.pool, ANNA, "ai_paused", False)
    assert "paused" not in await why(w, message_id)


async def test_a_blocker_with_its_remedy(w: World) -> None:
    message_id = await w.insert()
    llm = {"code": "llm.money", "what": "UniAPI has no money left.", "remedy": "Top it up."}
    schema = {
        "code": "schema.column_missing",
        "what": "A column\nis missing.",
        "remedy": "Run: switchboard migrate",
    }
    await engine(w, "blocked", [llm])
    assert await why(w, message_id) == (
        "Nothing is claimed, because of a blocker (UniAPI has no money left); top it up."
    )
    await engine(w, "blocked", [llm, schema])
    assert "A column ⏎ is missing" in await why(w, message_id)
    await engine(w, "blocked")
    assert "see the blockers" in await why(w, message_id)
    await engine(w, "running", [llm])
    assert "will be claimed" in await why(w, message_id), "another provider answers"


async def test_the_quiet_window(w: World) -> None:
    await w.quiet(9)
    message_id = await w.insert()
    assert "in case the customer writes on" in await why(w, message_id)


async def test_an_earlier_message_is_being_answered(w: World) -> None:
    await w.insert()
    await w.claim_one()
    message_id = await w.insert("more")
    assert "answering an earlier message" in await why(w, message_id)


async def test_a_retry_is_waited_for(w: World) -> None:
    message_id = await w.insert()
    await w.complete(await w.claim_one(), TurnOutcome.RETRY, reason="llm.rate", error="slow\x1b[2J down")
    await w.query("UPDATE et_threads SET due_at = now() + interval '40 minutes'")
    sentence = await why(w, message_id)
    assert sentence.startswith(
        "Attempt 1 failed (llm.rate: slow␛[2J down), and it is tried again in 40 min."
    ), sentence


async def test_others_come_first(w: World) -> None:
    for sender in ("a", "b"):
        await w.insert(sender=sender)
    message_id = await w.insert(sender="c")
    assert "2 other conversations are due before it" in await why(w, message_id)
    later = await w.insert(sender="c")
    assert "1 earlier message of this conversation" in await why(w, later)


async def test_the_only_engine_is_starting(w: World) -> None:
    message_id = await w.insert()
    await engine(w, "starting")
    assert "the engine is starting" in await why(w, message_id)


async def test_a_mailbox_that_does_not_know_of_it(w: World) -> None:
    message_id = await w.insert()
    await w.query("UPDATE et_threads SET due_at = NULL")
    assert "sweep finds it" in await why(w, message_id)
    await w.query("UPDATE et_messages SET thread_id = NULL")
    assert "no conversation yet" in await why(w, message_id)


async def test_it_waits_for_the_person(w: World) -> None:
    thread_id = await w.thread_of(await w.insert())
    await take_over(w.pool, ANNA, thread_id)
    message_id = await w.insert("and?")
    assert "It waits for anna" in await why(w, message_id)


# Processing


async def test_it_is_being_answered(w: World) -> None:
    message_id = await w.insert()
    await w.claim_one()
    assert (await why(w, message_id)).startswith("The AI is answering it right now (attempt 1, for ")
    await w.query("UPDATE et_messages SET claimed_at = now() - interval '5 minutes'")
    assert "unusually long" in await why(w, message_id)
    await w.query("UPDATE et_messages SET lease_until = now() - interval '1 second'")
    assert "engine-1 stopped answering during attempt 1" in await why(w, message_id)


# Answered


async def test_how_far_the_reply_came(w: World) -> None:
    done = await w.answered()
    message_id = (await w.one("SELECT id FROM et_messages WHERE direction = 'inbound'"))["id"]
    name = f"It has a reply (message {done.reply_id})"
    assert await why(w, message_id) == f"{name}, which waits to be sent."
    await w.query("UPDATE et_outbound_queue SET next_attempt_at = now() + interval '8 hours'")
    assert "for 8 h more (quiet hours" in await why(w, message_id)
    await w.query("UPDATE et_outbound_queue SET next_attempt_at = now()")
    await engine(w, paused=["simulator/default"])
    assert "until the channel simulator/default is well again" in await why(w, message_id)
    await w.query("UPDATE et_engines SET stopped_at = now()")
    assert "but no engine is running" in await why(w, message_id)
    send = await w.claim_send()
    await w.start(send)
    assert await why(w, message_id) == f"{name}, which is being sent right now."
    await w.record(send, "retry_scheduled", error="busy", retry_seconds=3000.0)
    assert f"{name}, but sending it failed (busy); it is tried again in 50 min." in await why(w, message_id)
    await engine(w, paused=["simulator/default"])
    assert "in 50 min, once the channel simulator/default is well again." in await why(w, message_id)
    await w.promote()
    send = await w.claim_send()
    await w.start(send)
    await w.record(send, "sent", "confirmed", provider_message_id="x")
    assert (await why(w, message_id)).startswith(f"{name}, sent ")
    await w.query(
        "UPDATE et_messages SET delivered_at = now() - interval '5 minutes' WHERE id = %s", done.reply_id
    )
    assert await why(w, message_id) == f"{name}, delivered 5 min ago."
    await w.query("UPDATE et_messages SET read_at = now() - interval '3 hours' WHERE id = %s", done.reply_id)
    assert await why(w, message_id) == f"{name}, read 3 h ago."


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("rejected", "it could not be sent (boom); retry it"),
        ("unknown", "whether it arrived is unknown (boom)"),
        ("cancelled", "it was cancelled before it left (boom)"),
    ],
)
async def test_why_the_reply_was_not_sent(w: World, outcome: str, said: str) -> None:
    await w.answered()
    message_id = (await w.one("SELECT id FROM et_messages WHERE direction = 'inbound'"))["id"]
    send = await w.claim_send()
    await w.start(send)
    await w.record(send, "failed", outcome, error="boom")
    assert said in await why(w, message_id)


async def test_a_burst_shares_its_reply(w: World) -> None:
    messages = [await w.insert("one"), await w.insert("two")]
    done = await w.complete(await w.claim_one())
    assert done is not None
    for message_id in messages:
        assert f"(message {done.reply_id})" in await why(w, message_id)


# With a person


async def test_taken_over_by_an_operator(w: World) -> None:
    message_id = await w.insert()
    claim = await w.claim_one()
    await take_over(w.pool, ANNA, claim.thread_id, auto_release_minutes=60)
    sentence = await why(w, message_id)
    assert sentence.startswith(
        "anna took the conversation over before the AI had answered; nobody has replied yet"
    )
    assert "goes back to the AI in 60 min" in sentence
    await w.complete(claim)
    await extend(w.pool, ANNA, claim.thread_id, None)
    sentence = await why(w, message_id)
    assert "kept as a draft; nobody has replied yet." in sentence
    await send_reply(w.pool, ANNA, claim.thread_id, "I am here")
    assert (await why(w, message_id)).startswith("A person replied ")
    assert "which is on its way" in await why(w, message_id)


async def test_the_draft_of_a_burst_is_told_with_each_of_its_messages(w: World) -> None:
    messages = [await w.insert("one"), await w.insert("two")]
    claim = await w.claim_one()
    await take_over(w.pool, ANNA, claim.thread_id)
    await w.complete(claim)
    for message_id in messages:
        assert "kept as a draft" in await why(w, message_id)


async def test_it_came_while_a_person_answered_and_was_handed_back(w: World) -> None:
    thread_id = await w.thread_of(await w.insert())
    await take_over(w.pool, ANNA, thread_id)
    message_id = await w.insert("still there?")
    await w.claim()
    assert "It came while a person was answering" in await why(w, message_id)
    await release(w.pool, ANNA, thread_id)
    sentence = await why(w, message_id)
    assert "this one after a replay" in sentence


@pytest.mark.parametrize(
    ("reason", "error", "said"),
    [
        (
            "policy.human_requested",
            "the customer asked for a person",
            "A rule kept the AI from answering: the customer",
        ),
        ("policy.budget", None, "A rule kept the AI from answering: budget"),
        ("suggested", "the agent only suggests; a person sends", "its draft waits for a person"),
        ("takeover.phone", None, "answered on the phone"),
        ("something_new", "a detail", "given to a person: a detail"),
        (None, None, "It was given to a person;"),
    ],
)
async def test_given_to_a_person(w: World, reason: str | None, error: str | None, said: str) -> None:
    message_id = await w.insert()
    await w.complete(await w.claim_one(), TurnOutcome.TAKEOVER, reason=reason, error=error)
    assert said in await why(w, message_id)


async def test_snoozed_and_paused_conversations_say_so(w: World) -> None:
    message_id = await w.insert()
    thread_id = await w.thread_of(message_id)
    await take_over(w.pool, ANNA, thread_id)
    await w.query(
        "UPDATE et_threads SET snoozed_until = now() + interval '3 hours', snoozed_by = 'otto' WHERE id = %s",
        thread_id,
    )
    assert "snoozed by otto for 3 h more" in await why(w, message_id)
    await set_setting(w.pool, ANNA, "paused_channels", ["simulator"])
    assert "the AI is paused on simulator" in await why(w, message_id)
    await w.query("UPDATE et_threads SET snoozed_until = now() - interval '1 s', auto_release_at = NULL")
    assert "snoozed" not in await why(w, message_id)
    await set_setting(w.pool, ANNA, "paused_channels", [])
    await w.query("UPDATE et_threads SET paused_at = now(), snoozed_until = now() + interval '1 day'")
    said = await why(w, message_id)
    assert (
        "yet: the conversation is snoozed by otto for 24 h more; the AI is paused in this conversation"
        in said
    )
    await w.query(
        "UPDATE et_threads SET owner = 'ai', operator = NULL, owner_since = NULL, snoozed_until = NULL"
    )
    assert "answers nothing until it is resumed in the console's Inbox (K)" in await why(w, message_id)


async def test_a_paused_tenant(w: World) -> None:
    message_id = await w.insert()
    await w.complete(await w.claim_one(), TurnOutcome.TAKEOVER, reason="policy.no_agent", error="no agent")
    assert "no agent" in await why(w, message_id)
    await update_tenant(w.pool, ANNA, 1, paused=True)
    assert "tenant is paused" in await why(w, message_id)


# Errors and oddities


async def test_what_went_wrong(w: World) -> None:
    message_id = await w.failed(reason="llm.money")
    assert await why(w, message_id) == (
        "The AI failed to answer it (llm.money: no answer) after 1 attempt; replay it once the cause is mended."
    )
    await w.query(
        "UPDATE et_messages SET reason = 'attempts_exhausted', attempts = 5, last_error = 'engine x stopped'"
    )
    assert await why(w, message_id) == "It was given up after 5 attempts: engine x stopped."


async def test_what_is_no_question_at_all(w: World) -> None:
    done = await w.answered()
    assert done.reply_id is not None
    assert await why(w, done.reply_id) == "It is a message of ours, so it asks for no reply."
    assert await why(w, 999) == "There is no message 999."


async def test_a_schema_of_another_time(w: World) -> None:
    message_id = await w.insert()
    await w.query("ALTER TABLE et_messages DROP COLUMN lease_until CASCADE")
    assert await why_no_reply(w.pool, message_id) == SCHEMA_SENTENCE


def test_every_status_has_a_sentence() -> None:
    facts: dict[str, Any] = {
        "direction": "inbound",
        "reason": None,
        "error": None,
        "attempts": 0,
        "engine": None,
        "lease_over": None,
        "working_for": None,
        "thread": None,
        "turn": None,
        "reply": None,
        "human_reply": None,
        "ai_paused": None,
        "tenant_paused": None,
        "engines": [],
    }
    sentences = {explain({**facts, "status": status}) for status in (*InboundStatus, "odd")}
    assert len(sentences) == 6
