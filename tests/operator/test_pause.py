"""The kill switch, everywhere, of one channel and of one conversation: what it holds back and what it leaves alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.inbound import claims
from engine.observe.access import pool_at
from engine.observe.health import system_health
from engine.observe.no_reply import why_no_reply
from engine.observe.threads import thread_rows
from engine.operator.audit import BadInput, NotFound, ReadOnly
from engine.operator.pause import pause, resume
from engine.operator.takeover import release, take_over
from tests.operator.world import ANNA, ENGINE, GUEST, World
from tests.support.trip import Trip, trip


@pytest.fixture
def whole(dsn: str, tmp_path: Path) -> Iterator[Trip]:
    with trip(dsn, tmp_path) as made:
        yield made


def switch(dsn: str, act: Any, **where: Any) -> Any:
    async def run() -> Any:
        async with pool_at(dsn) as pool:
            return await act(pool, ANNA, **where)

    return asyncio.run(run())


async def claimed(w: World, *paused: str) -> list[int]:
    """The messages a claim takes, and what it says of the next one is never "now" once it took nothing."""
    found = await claims.claim_turns(
        w.connection, engine=ENGINE, threads=10, lease_seconds=60, burst=20, paused=paused
    )
    if not found:
        assert await claims.seconds_to_next_due(w.connection, paused) is None, "an engine would spin"
    return [message.id for claim in found for message in claim.messages]


async def test_a_paused_conversation_waits_unclaimed_while_others_go_on(w: World) -> None:
    held = await w.insert(sender="bob")
    thread = await w.thread_of(held)
    done = await pause(w.pool, ANNA, thread_id=thread)
    assert (done.subject, done.paused, done.changed, done.waiting) == (f"thread:{thread}", True, True, 1)
    other = await w.insert(sender="eve")
    assert await claimed(w) == [other]
    assert await claimed(w) == []
    assert (await w.message(held))["delivery_status"] == "received"
    assert (await w.message(held))["attempts"] == 0
    assert "paused in this conversation" in await why_no_reply_with_engine(w, held)
    assert (await thread_rows(w.pool, [thread]))[0].paused == "thread"
    assert not (await pause(w.pool, ANNA, thread_id=thread)).changed
    assert (await resume(w.pool, ANNA, thread_id=thread)).waiting == 1
    assert not (await resume(w.pool, ANNA, thread_id=thread)).changed
    assert await claimed(w) == [held]
    acts = [(row["act"], row["subject"], row["actor"]) for row in await w.audits()]
    assert acts == [
        ("thread.pause", f"thread:{thread}", "anna"),
        ("thread.resume", f"thread:{thread}", "anna"),
    ]


async def why_no_reply_with_engine(w: World, message_id: int) -> str:
    await w.query("INSERT INTO et_engines (name, snapshot) VALUES ('e', '{}') ON CONFLICT DO NOTHING")
    return await why_no_reply(w.pool, message_id)


async def test_a_paused_channel_waits_unclaimed_while_others_go_on(w: World) -> None:
    held = await w.insert(sender="bob")
    other = await w.insert(sender="eve", channel="telegram")
    done = await pause(w.pool, ANNA, channel="simulator")
    assert (done.subject, done.changed, done.waiting) == ("channel:simulator", True, 1)
    stored = await w.one("SELECT value, updated_by FROM et_platform_settings WHERE key = 'paused_channels'")
    assert stored == {"value": ["simulator"], "updated_by": "anna"}
    assert await claimed(w, "simulator") == [other]
    assert await claimed(w, "simulator") == []
    assert "paused on simulator" in await why_no_reply_with_engine(w, held)
    assert (await thread_rows(w.pool, [await w.thread_of(held)]))[0].paused == "channel"
    health = await system_health(w.pool)
    assert [n.where for n in health.warnings if n.code == "channel.paused"] == ["simulator"]
    assert (await resume(w.pool, ANNA, channel="simulator")).changed
    assert (await w.one("SELECT value FROM et_platform_settings WHERE key = 'paused_channels'"))[
        "value"
    ] == []
    assert [row["act"] for row in await w.audits()] == ["channel.pause", "channel.resume"]


async def test_two_who_pause_two_channels_at_once_both_succeed(w: World) -> None:
    await asyncio.gather(*(pause(w.pool, ANNA, channel=name) for name in ("waha", "telegram", "evolution")))
    stored = await w.one("SELECT value FROM et_platform_settings WHERE key = 'paused_channels'")
    assert stored["value"] == ["evolution", "telegram", "waha"]


async def test_what_a_person_answers_is_parked_though_the_ai_is_paused_there(w: World) -> None:
    thread = await w.thread_of(await w.insert())
    await pause(w.pool, ANNA, thread_id=thread)
    await take_over(w.pool, ANNA, thread)
    later = await w.insert("and?")
    assert await claimed(w) == []
    assert await w.status(later) == "inbound_human_takeover"
    await release(w.pool, ANNA, thread, answer_waiting=True)
    assert await claimed(w) == [], "a pause outlives a takeover"
    await resume(w.pool, ANNA, thread_id=thread)
    assert later in await claimed(w)


async def test_what_cannot_be_paused_is_refused(w: World) -> None:
    with pytest.raises(BadInput, match="no channel 'telgram'"):
        await pause(w.pool, ANNA, channel="telgram")
    with pytest.raises(BadInput, match="Both"):
        await pause(w.pool, ANNA, channel="telegram", thread_id=1)
    with pytest.raises(NotFound):
        await pause(w.pool, ANNA, thread_id=404)
    thread = await w.thread_of(await w.insert())
    for where in ({}, {"channel": "telegram"}, {"thread_id": thread}):
        with pytest.raises(ReadOnly):
            await pause(w.pool, GUEST, **where)  # type: ignore[arg-type]
    assert await w.audits() == []


@pytest.mark.parametrize("where", ["everything", "channel", "thread"])
def test_a_real_engine_answers_nothing_while_paused_and_everything_after(
    whole: Trip, dsn: str, where: str
) -> None:
    engine = whole.start()
    whole.until_sent(whole.insert("hello", sender="bob"))
    thread = whole.one("SELECT id FROM et_threads")["id"]
    target = {"everything": {}, "channel": {"channel": "simulator"}, "thread": {"thread_id": thread}}[where]
    switch(dsn, pause, **target)
    time.sleep(0.5)  # the engine hears of it
    calls, claims_before = len(whole.llm.uniapi.calls), engine.snapshot().inbound_worker.claimed
    waiting = [whole.insert(f"question {n}", sender="bob") for n in range(3)]
    time.sleep(1.0)
    assert {whole.message(one)["delivery_status"] for one in waiting} == {"received"}
    assert len(whole.llm.uniapi.calls) == calls
    assert engine.snapshot().inbound_worker.claimed == claims_before
    switch(dsn, resume, **target)
    whole.until(lambda: {whole.message(one)["delivery_status"] for one in waiting} == {"inbound_ai_replied"})
    assert whole.query("SELECT FROM et_messages WHERE delivery_status = 'received'") == []
