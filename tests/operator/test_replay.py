"""Replay: what may go to the AI again does, at once and with fresh attempts; nothing of the past is erased."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import ValidationError

from engine.database.connection import connect
from engine.model import InboundStatus, TurnOutcome
from engine.operator import bulk
from engine.operator.audit import BadInput, ReadOnly
from engine.operator.bulk import Stop
from engine.operator.replay import MessageFilter, ReplayFilter, count_matching, requeue, requeue_filter
from engine.operator.takeover import release, take_over
from tests.operator.world import ANNA, GUEST, World


async def test_an_error_is_answered_again_with_fresh_attempts(w: World) -> None:
    message_id = await w.failed()
    await w.query("UPDATE et_messages SET attempts = 5 WHERE id = %s", message_id)
    await w.query("LISTEN et_inbound")

    acted = await requeue(w.pool, ANNA, [message_id], note="provider is back")

    assert (acted.done, acted.skipped) == ([message_id], {})
    message = await w.message(message_id)
    assert (message["delivery_status"], message["reason"], message["attempts"]) == ("received", "replay", 0)
    assert message["last_error"] is None
    assert [n.payload async for n in w.connection.notifies(timeout=1, stop_after=1)] == [str(message_id)]
    claim = await w.claim_one()
    assert (claim.head_id, claim.attempts) == (message_id, 1)
    done = await w.complete(claim)
    assert done is not None and done.result is TurnOutcome.REPLIED
    turns = await w.query("SELECT outcome FROM et_turns WHERE message_id = %s ORDER BY id", message_id)
    assert [turn["outcome"] for turn in turns] == ["error", "replied"], "the first turn is still there"
    (audit,) = await w.audits()
    assert (audit["act"], audit["subject"], audit["note"]) == (
        "replay",
        f"message:{message_id}",
        "provider is back",
    )
    assert audit["before"][str(message_id)] == {
        "delivery_status": "inbound_error",
        "reason": "llm.transient",
        "last_error": "no answer",
    }


async def test_every_attempt_is_there_after_a_replay(w: World) -> None:
    message_id = await w.failed()
    await w.query("UPDATE et_messages SET attempts = 5 WHERE id = %s", message_id)
    await requeue(w.pool, ANNA, [message_id])
    await w.claim_one()
    async with await connect(w.dsn) as other:
        await other.execute("UPDATE et_threads SET lease_until = now() - interval '1 second'")
        from engine.inbound.claims import rescue_turns

        await rescue_turns(other, max_attempts=5)
    assert await w.status(message_id) == "received", "a lost engine does not make it an error at once"


async def test_what_may_not_be_replayed_is_told_with_its_reason(w: World) -> None:
    failed = await w.failed(sender="ann")
    await w.answered(sender="bea")
    answered = (await w.one("SELECT id FROM et_messages WHERE delivery_status = 'inbound_ai_replied'"))["id"]
    reply = (await w.one("SELECT id FROM et_messages WHERE direction = 'outbound'"))["id"]
    await w.insert(sender="cat")
    running = (await w.claim_one()).head_id
    waiting = await w.insert(sender="dan")
    owned = await w.insert(sender="eve")
    owned_thread = await w.thread_of(owned)
    await take_over(w.pool, ANNA, owned_thread)

    acted = await requeue(w.pool, ANNA, [failed, answered, reply, running, waiting, owned, 999, failed])

    assert acted.done == [failed]
    assert acted.skipped == {
        answered: "the AI has answered it",
        reply: "it is not an inbound message",
        running: "it is in work already",
        waiting: "it is in work already",
        owned: f"anna answers thread {owned_thread}; release it first",
        999: "there is no such message",
    }
    assert acted.reasons["it is in work already"] == 2
    assert await w.status(owned) == "inbound_human_takeover"
    await release(w.pool, ANNA, owned_thread)
    assert (await requeue(w.pool, ANNA, [owned])).count == 1


async def test_nothing_done_leaves_no_row(w: World) -> None:
    assert (await requeue(w.pool, ANNA, [999])).count == 0
    assert await w.audits() == []
    with pytest.raises(BadInput):
        await requeue(w.pool, ANNA, [])
    message_id = await w.failed()
    with pytest.raises(ReadOnly):
        await requeue(w.pool, GUEST, [message_id])
    with pytest.raises(ReadOnly):
        await requeue_filter(w.pool, GUEST, ReplayFilter())
    assert await w.status(message_id) == "inbound_error"


async def test_a_filter_takes_what_matches_in_batches(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "BATCH", 2)
    rate = [await w.failed(sender=f"r{n}", reason="llm.rate") for n in range(5)]
    await w.failed(sender="m", reason="llm.money")
    which = ReplayFilter(reason="llm.rate")
    heard: list[tuple[int, int]] = []
    assert await count_matching(w.pool, which) == 5

    acted = await requeue_filter(w.pool, ANNA, which, progress=lambda done, of: heard.append((done, of)))

    assert acted.done == rate
    assert heard == [(2, 5), (4, 5), (5, 5)]
    assert [len(audit["after"]["message_ids"]) for audit in await w.audits()] == [2, 2, 1]
    assert '"reason":"llm.rate"' in (await w.audits())[0]["note"]
    assert await count_matching(w.pool, which) == 0
    with pytest.raises(BadInput, match="Nothing matches"):
        await requeue_filter(w.pool, ANNA, which)
    assert len(await w.claim()) == 5


async def test_every_condition_of_a_filter_counts(w: World) -> None:
    first = await w.failed(sender="a")
    second = await w.failed(sender="b")
    await w.query("UPDATE et_messages SET created_at = now() - interval '2 days' WHERE id = %s", first)
    await w.query("UPDATE et_messages SET channel = 'telegram', tenant_id = 2 WHERE id = %s", second)
    third = await w.insert(sender="c")
    await take_over(w.pool, ANNA, await w.thread_of(third))
    day_ago = (await w.one("SELECT now() - interval '1 day' AS at"))["at"]
    cases: dict[int, MessageFilter] = {
        first: ReplayFilter(until=day_ago),
        second: ReplayFilter(since=day_ago),
        third: ReplayFilter(status=frozenset({InboundStatus.HUMAN_TAKEOVER})),
    }
    from engine.operator.replay import matching

    for expected, which in cases.items():
        assert await matching(w.pool, which) == [expected]
    assert await matching(w.pool, ReplayFilter(channel="telegram")) == [second]
    assert await matching(w.pool, ReplayFilter(tenant_id=1)) == [first]
    assert await matching(w.pool, ReplayFilter(thread_id=await w.thread_of(second))) == [second]
    assert await matching(w.pool, ReplayFilter(limit=1)) == [first]
    assert await matching(w.pool, MessageFilter()) == [first, second, third]
    with pytest.raises(ValidationError):
        ReplayFilter(status=frozenset({InboundStatus.AI_REPLIED}))


async def test_a_replay_and_a_takeover_at_once_leave_one_answerer(w: World) -> None:
    message_id = await w.failed()
    thread_id = await w.thread_of(message_id)
    async with await connect(w.dsn) as other:
        async with other.transaction():
            await other.execute("SELECT FROM et_threads WHERE id = %s FOR UPDATE", [thread_id])
            replaying = asyncio.create_task(requeue(w.pool, ANNA, [message_id]))
            await w.waits(replaying)
            await other.execute(
                "UPDATE et_threads SET owner = 'human', operator = 'ben', epoch = epoch + 1 WHERE id = %s",
                [thread_id],
            )
        acted = await replaying
    assert acted.skipped == {message_id: f"ben answers thread {thread_id}; release it first"}
    assert await w.status(message_id) == "inbound_error"


async def test_two_replays_of_the_same_message_are_one(w: World) -> None:
    message_id = await w.failed()
    both = await asyncio.gather(*(requeue(w.pool, ANNA, [message_id]) for _ in range(2)))
    assert sorted(acted.count for acted in both) == [0, 1]
    assert len(await w.audits("replay")) == 1


async def test_a_message_without_a_thread_is_replayed_too(w: World) -> None:
    message_id = await w.failed()
    await w.query("UPDATE et_messages SET thread_id = NULL WHERE id = %s", message_id)
    assert (await requeue(w.pool, ANNA, [message_id])).count == 1
    assert await w.status(message_id) == "received"


async def test_a_stopped_bulk_replay_keeps_what_is_done_and_leaves_the_rest(
    w: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.operator.bulk.BATCH", 2)
    ids = [await w.failed(sender=f"c{n}") for n in range(5)]

    def stop_at_once(_done: int, _of: int) -> None:
        raise Stop

    acted = await requeue(w.pool, ANNA, ids, progress=stop_at_once)
    assert (acted.done, acted.not_reached) == (ids[:2], 3)
    assert [await w.status(one) for one in ids] == ["received"] * 2 + ["inbound_error"] * 3
    assert len(await w.audits("replay")) == 1
