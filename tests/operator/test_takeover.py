"""Takeover is absolute, hand-back is by key or timer, and whoever commits first decides."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from engine.database.connection import connect
from engine.model import TurnOutcome
from engine.operator.audit import BadInput, NotFound, Operator, ReadOnly
from engine.operator.reply import send_reply
from engine.operator.takeover import NotOwned, extend, release, release_due, take_over
from tests.operator.world import ANNA, GUEST, World


async def test_takeover_parks_what_is_open_and_cancels_what_is_unsent(w: World) -> None:
    done = await w.answered()
    head = await w.insert("and?")
    second = await w.insert("hello??")
    claim = await w.claim_one()
    third = await w.insert("!!!")
    thread_id = await w.thread_of(head)

    taken = await take_over(w.pool, ANNA, thread_id, auto_release_minutes=15, reason="angry")

    assert (taken.cancelled_sends, taken.sends_in_flight, taken.parked_messages) == (1, 0, 3)
    assert not taken.already_owner
    assert taken.turn_running, "its answer is on the way"
    thread = await w.thread(thread_id)
    assert (thread["owner"], thread["operator"], thread["epoch"]) == ("human", "anna", taken.epoch)
    assert taken.epoch == claim.epoch + 1
    assert (thread["holder"], thread["lease_until"], thread["due_at"]) == (None, None, None)
    assert thread["claim_token"] > claim.token
    assert thread["auto_release_at"] - thread["owner_since"] == timedelta(minutes=15)
    for message_id in (head, second, third):
        message = await w.message(message_id)
        assert message["delivery_status"] == "inbound_human_takeover"
        assert message["reason"] == "takeover.operator"
        assert message["turn_head_id"] is None
    assert done.queue_id is not None and done.reply_id is not None
    send = await w.send(done.queue_id)
    assert (send["status"], send["outcome"], send["lease_until"]) == ("failed", "cancelled", None)
    assert await w.status(done.reply_id) == "failed"

    (audit,) = await w.audits()
    assert (audit["actor"], audit["origin"], audit["act"]) == ("anna", "desk from 10.0.0.7", "takeover")
    assert (audit["subject"], audit["note"]) == (f"thread:{thread_id}", "angry")
    assert audit["before"]["owner"] == "ai"
    assert audit["after"]["parked_messages"] == [head, second, third]
    assert audit["after"]["cancelled_sends"] == [done.queue_id]


async def test_the_running_turn_becomes_a_draft(w: World) -> None:
    message_id = await w.insert()
    claim = await w.claim_one()
    await take_over(w.pool, ANNA, claim.thread_id)

    done = await w.complete(claim, text="too late")

    assert done is not None and done.result is TurnOutcome.DRAFTED
    assert done.reply_id is None
    assert await w.status(message_id) == "inbound_human_takeover"
    turn = await w.one("SELECT outcome, draft FROM et_turns")
    assert turn == {"outcome": "drafted", "draft": "too late"}
    assert await w.query("SELECT id FROM et_messages WHERE direction = 'outbound'") == []


async def test_a_turn_from_before_a_takeover_is_a_draft_even_after_the_hand_back(w: World) -> None:
    await w.insert()
    claim = await w.claim_one()
    await take_over(w.pool, ANNA, claim.thread_id)
    await release(w.pool, ANNA, claim.thread_id)
    done = await w.complete(claim, text="too late")
    assert done is not None and done.result is TurnOutcome.DRAFTED


@pytest.mark.parametrize("started", [False, True], ids=["claimed", "started"])
async def test_a_send_is_cancelled_until_its_marker_is_set(w: World, started: bool) -> None:
    done = await w.answered()
    send = await w.claim_send()
    if started:
        assert await w.start(send)
    assert send.thread_id is not None
    taken = await take_over(w.pool, ANNA, send.thread_id)
    row = await w.send(send.queue_id)
    if started:
        assert (taken.cancelled_sends, taken.sends_in_flight) == (0, 1)
        assert row["status"] == "processing"
        assert await w.record(send, "sent", "confirmed", provider_message_id="x1"), "its answer still counts"
    else:
        assert (taken.cancelled_sends, taken.sends_in_flight) == (1, 0)
        assert (row["status"], row["outcome"]) == ("failed", "cancelled")
        assert not await w.start(send)
    assert done.reply_id is not None
    assert await w.status(done.reply_id) == ("sent" if started else "failed")


async def test_a_retry_of_the_ai_is_cancelled(w: World) -> None:
    await w.answered()
    send = await w.claim_send()
    await w.start(send)
    await w.record(send, "retry_scheduled", retry_seconds=60.0)
    assert send.thread_id is not None
    taken = await take_over(w.pool, ANNA, send.thread_id)
    assert (taken.cancelled_sends, taken.sends_in_flight) == (1, 0)
    assert (await w.send(send.queue_id))["outcome"] == "cancelled"


async def test_what_a_person_wrote_is_not_cancelled(w: World) -> None:
    thread_id = await w.thread_of(await w.insert())
    await take_over(w.pool, ANNA, thread_id)
    sent = await send_reply(w.pool, ANNA, thread_id, "I am here")
    again = await take_over(w.pool, Operator("ben", "desk"), thread_id)
    assert again.cancelled_sends == 0
    assert (await w.send(sent.queue_id))["status"] == "queued"
    send = await w.claim_send()
    assert await w.start(send), "a person's words are sent whoever owns the thread"


async def test_stop_is_heard_whoever_parks_it(w: World) -> None:
    await w.insert("hello")
    claim = await w.claim_one()
    await w.complete(claim, text="hi")
    await w.query(
        "WITH l AS (INSERT INTO et_leads (tenant_id) VALUES (1) RETURNING id), t AS (UPDATE et_threads SET"
        " lead_id = l.id FROM l RETURNING channel, address, lead_id) INSERT INTO et_lead_addresses"
        " (tenant_id, channel, address, lead_id) SELECT 1, channel, address, lead_id FROM t RETURNING lead_id"
    )

    async def out() -> bool:
        return (await w.one("SELECT opted_out_at IS NOT NULL AS out FROM et_leads"))["out"] is True

    await w.insert("start")
    await w.insert("STOP")
    await take_over(w.pool, ANNA, claim.thread_id)
    assert await out()
    await w.insert("Stop")
    await w.insert("START")
    assert await w.claim() == []
    assert not await out()
    await w.insert("unsubscribe.")
    await release(w.pool, ANNA, claim.thread_id)
    assert await out()


async def test_a_word_of_a_customer_who_becomes_known_later_counts_and_no_other_tenants_lead_hears_it(
    w: World,
) -> None:
    thread_id = await w.thread_of(await w.insert("hello"))
    await take_over(w.pool, ANNA, thread_id)
    await w.insert("STOP")
    assert await w.claim() == []
    await w.query(
        "WITH l AS (INSERT INTO et_leads (tenant_id) VALUES (1) RETURNING id)"
        " UPDATE et_threads SET lead_id = l.id FROM l RETURNING lead_id"
    )
    other = (await w.one("INSERT INTO et_leads (tenant_id) VALUES (99) RETURNING id"))["id"]
    await w.query("UPDATE et_messages SET lead_id = %s WHERE text_content = 'STOP' RETURNING id", other)
    await release(w.pool, ANNA, thread_id)
    heard = await w.query("SELECT tenant_id FROM et_leads WHERE opted_out_at IS NOT NULL")
    assert [row["tenant_id"] for row in heard] == [1]


async def test_a_second_person_takes_the_place_of_the_first(w: World) -> None:
    thread_id = await w.thread_of(await w.insert())
    first = await take_over(w.pool, ANNA, thread_id)
    since = (await w.thread(thread_id))["owner_since"]
    second = await take_over(w.pool, Operator("ben", "desk"), thread_id, auto_release_minutes=None)
    thread = await w.thread(thread_id)
    assert second.already_owner
    assert second.previous_operator == "anna"
    assert second.epoch == first.epoch, "the owner is a person as before"
    assert (thread["operator"], thread["auto_release_at"], thread["owner_since"]) == ("ben", None, since)


async def test_messages_of_an_owned_thread_go_to_the_person(w: World) -> None:
    thread_id = await w.thread_of(await w.insert())
    await take_over(w.pool, ANNA, thread_id)
    message_id = await w.insert("are you there?")
    assert await w.claim() == []
    assert await w.status(message_id) == "inbound_human_takeover"


async def test_hand_back_leaves_the_past_with_the_person(w: World) -> None:
    parked = await w.insert()
    thread_id = await w.thread_of(parked)
    taken = await take_over(w.pool, ANNA, thread_id)
    unclaimed = await w.insert("still there?")

    done = await release(w.pool, ANNA, thread_id)

    assert (done.answered_by_ai, done.left_parked, done.epoch) == (0, 2, taken.epoch + 1)
    thread = await w.thread(thread_id)
    assert (thread["owner"], thread["operator"], thread["due_at"]) == ("ai", None, None)
    assert thread["human_until"] is not None
    assert thread["auto_release_at"] is None
    assert await w.status(parked) == await w.status(unclaimed) == "inbound_human_takeover"
    assert await w.claim() == []
    new = await w.insert("next question")
    assert (await w.claim_one()).head_id == new
    (audit,) = await w.audits("release")
    assert audit["before"]["operator"] == "anna"
    assert audit["after"]["owner"] == "ai"


async def test_hand_back_can_have_the_ai_answer_what_waits(w: World) -> None:
    old = await w.failed("long ago")
    await w.query("UPDATE et_messages SET delivery_status = 'inbound_human_takeover' WHERE id = %s", old)
    answered = await w.insert("first")
    thread_id = await w.thread_of(answered)
    await take_over(w.pool, ANNA, thread_id)
    await send_reply(w.pool, ANNA, thread_id, "reply to the first")
    waiting = [await w.insert("second"), await w.insert("third")]
    assert await w.claim() == [], "parked"
    late = await w.insert("fourth")

    done = await release(w.pool, ANNA, thread_id, answer_waiting=True)

    assert done.answered_by_ai == 3
    assert await w.status(answered) == await w.status(old) == "inbound_human_takeover"
    claim = await w.claim_one()
    assert [message.id for message in claim.messages] == [*waiting, late]


async def test_hand_back_does_not_dig_out_what_was_parked_before(w: World) -> None:
    old = await w.insert("long ago")
    await w.complete(await w.claim_one(), TurnOutcome.TAKEOVER, reason="policy.link")
    new = await w.insert("today")
    thread_id = await w.thread_of(new)
    await take_over(w.pool, ANNA, thread_id)
    assert (await release(w.pool, ANNA, thread_id, answer_waiting=True)).answered_by_ai == 1
    assert (await w.status(old), await w.status(new)) == ("inbound_human_takeover", "received")


async def test_a_reply_that_never_left_answers_nobody(w: World) -> None:
    message_id = await w.insert()
    thread_id = await w.thread_of(message_id)
    await take_over(w.pool, ANNA, thread_id)
    await send_reply(w.pool, ANNA, thread_id, "hello")
    send = await w.claim_send()
    await w.start(send)
    await w.record(send, "failed", "rejected", error="no such number")
    assert (await release(w.pool, ANNA, thread_id, answer_waiting=True)).answered_by_ai == 1


async def test_handing_back_twice_does_nothing_more(w: World) -> None:
    thread_id = await w.thread_of(await w.insert())
    await take_over(w.pool, ANNA, thread_id)
    first = await release(w.pool, ANNA, thread_id)
    second = await release(w.pool, ANNA, thread_id)
    assert second.already_ai
    assert second.epoch == first.epoch
    assert len(await w.audits("release")) == 1


async def test_the_timer_hands_back_what_is_due_and_only_that(w: World) -> None:
    due = await w.insert("help", "bob")
    later = await w.insert("help", "carl")
    never = await w.insert("help", "dora")
    for message_id, minutes in ((due, 5), (later, 50), (never, None)):
        await take_over(w.pool, ANNA, await w.thread_of(message_id), auto_release_minutes=minutes)
    assert await release_due(w.pool) == []
    thread_id = await w.thread_of(due)
    await w.query(
        "UPDATE et_threads SET auto_release_at = auto_release_at - interval '6 minutes'"
        " WHERE auto_release_at IS NOT NULL"
    )

    assert await release_due(w.pool) == [thread_id]

    (audit,) = await w.audits("release")
    assert (audit["actor"], audit["subject"]) == ("timer", f"thread:{thread_id}")
    assert [claim.head_id for claim in await w.claim()] == [due], "nobody answered, so the AI does"
    assert (await w.thread(await w.thread_of(later)))["owner"] == "human"
    assert (await w.thread(await w.thread_of(never)))["owner"] == "human"


async def test_the_timer_leaves_a_thread_alone_that_somebody_is_busy_with(w: World) -> None:
    thread_id = await w.thread_of(await w.insert())
    await take_over(w.pool, ANNA, thread_id, auto_release_minutes=5)
    await w.query("UPDATE et_threads SET auto_release_at = now() - interval '1 second'")
    async with w.connection.transaction():
        await w.query("SELECT FROM et_threads WHERE id = %s FOR UPDATE", thread_id)
        assert await asyncio.wait_for(release_due(w.pool), 5) == []
    assert await release_due(w.pool) == [thread_id]


async def test_a_reply_puts_the_timer_off(w: World) -> None:
    thread_id = await w.thread_of(await w.insert())
    await take_over(w.pool, ANNA, thread_id, auto_release_minutes=1)
    before = (await w.thread(thread_id))["auto_release_at"]
    await send_reply(w.pool, ANNA, thread_id, "one moment", auto_release_minutes=30)
    after = (await w.thread(thread_id))["auto_release_at"]
    assert after - before > timedelta(minutes=28)
    await send_reply(w.pool, ANNA, thread_id, "still here", auto_release_minutes=5)
    assert (await w.thread(thread_id))["auto_release_at"] == after, "never sooner"


async def test_the_timer_can_be_moved_and_called_off(w: World) -> None:
    thread_id = await w.thread_of(await w.insert())
    with pytest.raises(NotOwned):
        await extend(w.pool, ANNA, thread_id)
    await take_over(w.pool, ANNA, thread_id, auto_release_minutes=1)
    moved = await extend(w.pool, ANNA, thread_id, 60)
    assert (await w.thread(thread_id))["auto_release_at"] == moved
    assert await extend(w.pool, ANNA, thread_id, None) is None
    assert (await w.thread(thread_id))["auto_release_at"] is None
    assert len(await w.audits("takeover.extend")) == 2


async def test_refusals_change_nothing(w: World) -> None:
    message_id = await w.insert()
    thread_id = await w.thread_of(message_id)
    with pytest.raises(ReadOnly, match="read-only"):
        await take_over(w.pool, GUEST, thread_id)
    with pytest.raises(ReadOnly):
        await release(w.pool, GUEST, thread_id)
    with pytest.raises(ReadOnly):
        await extend(w.pool, GUEST, thread_id)
    with pytest.raises(NotFound, match="Thread 999"):
        await take_over(w.pool, ANNA, 999)
    for minutes in (0, -1, float("nan"), float("inf")):
        with pytest.raises(BadInput):
            await take_over(w.pool, ANNA, thread_id, auto_release_minutes=minutes)
    assert (await w.thread(thread_id))["owner"] == "ai"
    assert await w.status(message_id) == "received"
    assert await w.audits() == []


# Races: the first to commit decides.


async def test_takeover_waits_for_a_completion_and_cancels_its_reply(w: World) -> None:
    await w.insert()
    claim = await w.claim_one()
    async with await connect(w.dsn) as engine, engine.transaction():
        done = await w.complete(claim, connection=engine)
        taking = asyncio.create_task(take_over(w.pool, ANNA, claim.thread_id))
        await w.waits(taking)
    taken = await taking
    assert done is not None and done.queue_id is not None
    assert taken.cancelled_sends == 1, "the reply was committed just before, and is seen"
    assert (await w.send(done.queue_id))["outcome"] == "cancelled"
    assert taken.parked_messages == 0


async def test_a_completion_passes_over_a_thread_that_is_being_taken(w: World) -> None:
    await w.insert()
    claim = await w.claim_one()
    async with await connect(w.dsn) as other, other.transaction():
        await other.execute("SELECT FROM et_threads WHERE id = %s FOR UPDATE", [claim.thread_id])
        assert await w.complete(claim) is None, "it is tried again shortly"
    await take_over(w.pool, ANNA, claim.thread_id)
    done = await w.complete(claim)
    assert done is not None and done.result is TurnOutcome.DRAFTED


async def test_takeover_waits_for_a_send_being_marked_and_counts_it(w: World) -> None:
    await w.answered()
    send = await w.claim_send()
    assert send.thread_id is not None
    async with await connect(w.dsn) as engine, engine.transaction():
        assert await w.start(send, engine)
        taking = asyncio.create_task(take_over(w.pool, ANNA, send.thread_id))
        await w.waits(taking)
    taken = await taking
    assert (taken.sends_in_flight, taken.cancelled_sends) == (1, 0)


async def test_a_send_waits_for_a_takeover_and_is_not_started(w: World) -> None:
    await w.answered()
    send = await w.claim_send()
    async with await connect(w.dsn) as other:
        async with other.transaction():
            # What a takeover holds until it commits: the thread's row.
            await other.execute("SELECT FROM et_threads WHERE id = %s FOR UPDATE", [send.thread_id])
            starting = asyncio.create_task(w.start(send))
            await w.waits(starting)
            await other.execute(
                "UPDATE et_threads SET owner = 'human', epoch = epoch + 1 WHERE id = %s", [send.thread_id]
            )
        assert not await starting
    row = await w.send(send.queue_id)
    assert (row["status"], row["outcome"], row["send_started_at"]) == ("failed", "cancelled", None)


async def test_takeover_waits_for_a_send_being_claimed_and_cancels_it(w: World) -> None:
    await w.answered()
    async with await connect(w.dsn) as engine, engine.transaction():
        send = await w.claim_send(engine)
        assert send.thread_id is not None
        taking = asyncio.create_task(take_over(w.pool, ANNA, send.thread_id))
        await w.waits(taking)
    assert (await taking).cancelled_sends == 1
    assert not await w.start(send)


async def test_a_takeover_outlives_a_deadlock(w: World) -> None:
    await w.answered()
    send = await w.claim_send()
    assert send.thread_id is not None
    async with await connect(w.dsn) as other:
        # Somebody who takes the locks in the wrong order: the send's row, then the thread's.
        await other.execute("SET deadlock_timeout = '20s'")
        async with other.transaction():
            await other.execute("SELECT FROM et_outbound_queue WHERE id = %s FOR UPDATE", [send.queue_id])
            taking = asyncio.create_task(take_over(w.pool, ANNA, send.thread_id))
            await w.waits(taking)
            await other.execute("SELECT FROM et_threads WHERE id = %s FOR UPDATE", [send.thread_id])
    assert (await taking).cancelled_sends == 1
    assert len(await w.audits("takeover")) == 1


async def test_many_takeovers_and_turns_at_once_leave_one_owner_and_no_reply_after(w: World) -> None:
    messages = [await w.insert("hi", f"c{number}") for number in range(8)]
    claimed = await w.claim()
    assert len(claimed) == 8

    async def complete_all() -> None:
        async with await connect(w.dsn) as engine:
            left = list(claimed)
            while left:
                left = [claim for claim in left if await w.complete(claim, connection=engine) is None]

    threads = [claim.thread_id for claim in claimed]
    people = [Operator(name, "desk") for name in ("anna", "ben")]
    taking = [take_over(w.pool, person, thread) for thread in reversed(threads) for person in people]
    await asyncio.gather(complete_all(), *taking)
    for message_id in messages:
        message = await w.message(message_id)
        thread = await w.thread(message["thread_id"])
        assert (thread["owner"], thread["epoch"]) == ("human", 1)
        sends = await w.query("SELECT * FROM et_outbound_queue WHERE thread_id = %s", thread["id"])
        assert all(send["outcome"] == "cancelled" for send in sends)
        expected = "inbound_ai_replied" if sends else "inbound_human_takeover"
        assert message["delivery_status"] == expected
    assert len(await w.audits("takeover")) == 16
