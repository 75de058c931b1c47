"""Claims by hand: who gets what, and what a worker that lost its claim can still write (nothing)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from engine.database.connection import Connection, Pool, connect, open_pool
from engine.inbound import claims
from engine.inbound.claims import Claim, Completion
from engine.model import AITrace, TurnKind, TurnOutcome, Usage
from engine.runtime.agent_runtime import TurnResult


@pytest.fixture(autouse=True)
async def _no_quiet_window(db: Connection) -> None:
    await db.execute(
        "INSERT INTO et_platform_settings (key, value) VALUES ('quiet_window', '{\"seconds\": 0, \"max_seconds\": 0}')"
    )


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    async with open_pool(dsn, size=1) as pool:
        yield pool


async def insert(db: Connection, text: str, sender: str = "anna") -> int:
    cursor = await db.execute(
        "INSERT INTO et_messages (tenant_id, channel, direction, text_content, delivery_status, raw_payload)"
        " VALUES (1, 'simulator', 'inbound', %s, 'received', jsonb_build_object('from', %s::text)) RETURNING id",
        [text, sender],
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["id"])


async def claim(db: Connection, engine: str = "one", lease: float = 60, burst: int = 20) -> list[Claim]:
    return await claims.claim_turns(db, engine=engine, threads=10, lease_seconds=lease, burst=burst)


def replied(claim: Claim, text: str = "Hello!") -> Completion:
    trace = AITrace(
        task="conversation", provider="uniapi", model="m", usage=Usage(), recorded_at=claim.claimed_at
    )
    result = TurnResult(TurnOutcome.REPLIED, text=text, trace=trace, started_at=claim.claimed_at)
    return Completion(claim, result, TurnKind.LIVE, 1, 1, True, False, None, 0.0)


async def complete(db: Connection, completion: Completion, engine: str = "one") -> str:
    done = (await claims.complete_turns(db, engine, [completion]))[0]
    return "locked" if done is None else done.result


async def column(db: Connection, query: str) -> list[Any]:
    return [next(iter(row.values())) for row in await (await db.execute(query.encode())).fetchall()]


async def test_a_thread_is_claimed_by_one_engine_only(db: Connection) -> None:
    first = await insert(db, "one")
    await insert(db, "two")
    mine = await claim(db, "one", burst=1)
    assert [c.head_id for c in mine] == [first]
    assert await claim(db, "two") == [], "the thread is held, though it has more work"
    assert await complete(db, replied(mine[0])) == "replied"
    assert len(await claim(db, "two")) == 1


async def test_a_burst_is_one_claim_in_order(db: Connection) -> None:
    ids = [await insert(db, str(n)) for n in range(25)]
    claimed = (await claim(db))[0]
    assert [m.id for m in claimed.messages] == ids[:20]
    assert await complete(db, replied(claimed)) == "replied"
    rest = (await claim(db))[0]
    assert [m.id for m in rest.messages] == ids[20:]
    assert len(await column(db, "SELECT id FROM et_messages WHERE author = 'ai'")) == 1


async def test_a_lost_claim_writes_nothing_but_its_record(db: Connection) -> None:
    await insert(db, "hello")
    stale = (await claim(db, "zombie", lease=0.01))[0]
    await asyncio.sleep(0.05)
    assert len(await claims.rescue_turns(db, max_attempts=5)) == 1
    fresh = (await claim(db, "healthy"))[0]
    assert fresh.token > stale.token
    assert await complete(db, replied(stale, "from the grave"), "zombie") == "lost_claim"
    assert await column(db, "SELECT id FROM et_messages WHERE author = 'ai'") == []
    assert await complete(db, replied(fresh), "healthy") == "replied"
    assert await column(db, "SELECT text_content FROM et_messages WHERE author = 'ai'") == ["Hello!"]
    assert await column(db, "SELECT draft FROM et_turns WHERE outcome = 'lost_claim'") == ["from the grave"]


async def test_a_completion_whose_answer_was_lost_is_told_again_and_counted_once(db: Connection) -> None:
    await insert(db, "hello")
    mine = (await claim(db))[0]
    once = (await claims.complete_turns(db, "one", [replied(mine)]))[0]
    again = (await claims.complete_turns(db, "one", [replied(mine)]))[0]
    assert once is not None and again is not None
    assert (again.result, again.reply_id) == ("replied", once.reply_id)
    await db.execute("UPDATE et_threads SET owner = 'human', epoch = epoch + 1, owner_since = now()")
    assert await complete(db, replied(mine)) == "replied", (
        "a takeover after it makes no draft of what was sent"
    )
    assert await column(db, "SELECT outcome FROM et_turns") == ["replied"]


async def test_what_was_asked_for_stays_asked_for_when_the_model_hiccups(db: Connection) -> None:
    message = await insert(db, "hello")
    await db.execute("UPDATE et_messages SET reason = 'replay'")
    first = (await claim(db))[0]
    failed = TurnResult(TurnOutcome.RETRY, reason="llm.transient", started_at=first.claimed_at)
    assert (
        await complete(db, Completion(first, failed, TurnKind.REPLAY, 1, 1, True, False, None, 0.0))
        == "retry"
    )
    second = (await claim(db))[0]
    assert second.head_id == message and second.asked_for


async def test_only_who_holds_the_thread_sets_money_aside(db: Connection, pool: Pool) -> None:
    await insert(db, "hello")
    stale = (await claim(db, "zombie", lease=0.01))[0]
    await asyncio.sleep(0.05)
    await claims.rescue_turns(db, max_attempts=5)
    await claims.reserve_budget(pool, stale, Decimal("0.05"), Decimal(5))
    assert await column(db, "SELECT reserved_usd FROM et_threads") == [None]
    fresh = (await claim(db, "healthy"))[0]
    await claims.reserve_budget(pool, stale, Decimal("0.05"), Decimal(5))
    assert await column(db, "SELECT reserved_usd FROM et_threads") == [None]
    await claims.reserve_budget(pool, fresh, Decimal("0.05"), Decimal(5))
    assert await column(db, "SELECT reserved_usd FROM et_threads") == [Decimal("0.05")]


async def test_what_a_provider_delivers_late_is_as_old_as_its_customer_wrote_it(db: Connection) -> None:
    await insert(db, "hello")
    await db.execute("UPDATE et_messages SET provider_timestamp = now() - interval '2 days'")
    mine = (await claim(db))[0]
    assert mine.claimed_at - mine.messages[0].created_at >= timedelta(days=2)
    assert mine.last_inbound_at is not None and mine.last_inbound_at <= mine.claimed_at


async def test_a_zombie_cannot_renew(db: Connection) -> None:
    await insert(db, "hello")
    stale = (await claim(db, "zombie", lease=0.01))[0]
    await asyncio.sleep(0.05)
    await claims.rescue_turns(db, max_attempts=5)
    assert await claims.renew_turns(db, engine="zombie", claims=[stale], lease_seconds=60) == set()
    fresh = (await claim(db, "one"))[0]
    assert await claims.renew_turns(db, engine="one", claims=[fresh], lease_seconds=60) == {fresh.thread_id}


async def test_after_the_last_attempt_a_message_is_an_error_and_its_burst_goes_on(db: Connection) -> None:
    poison, innocent = await insert(db, "poison"), await insert(db, "innocent")
    assert len((await claim(db, lease=0.01))[0].messages) == 2
    for attempt in range(2, 4):
        await asyncio.sleep(0.03)
        await claims.rescue_turns(db, max_attempts=3)
        await db.execute("UPDATE et_threads SET due_at = now()")  # a suspect waits a little
        held = await claim(db, lease=0.01)
        assert [m.id for m in held[0].messages] == [poison], f"alone in attempt {attempt}"
    await asyncio.sleep(0.03)
    await claims.rescue_turns(db, max_attempts=3)
    assert await column(db, "SELECT delivery_status FROM et_messages ORDER BY id") == [
        "inbound_error",
        "received",
    ]
    await db.execute("UPDATE et_threads SET due_at = now()")
    assert [m.id for m in (await claim(db))[0].messages] == [innocent]


async def test_a_locked_thread_is_left_out_and_tried_again(db: Connection, dsn: str) -> None:
    await insert(db, "hello")
    held = (await claim(db))[0]
    async with await connect(dsn) as other:
        async with other.transaction():
            await other.execute("SELECT FROM et_threads FOR UPDATE")
            assert await complete(db, replied(held)) == "locked"
        assert await complete(db, replied(held)) == "replied"


async def test_a_message_inserted_while_a_turn_is_extended_is_not_lost(db: Connection, dsn: str) -> None:
    await insert(db, "first")
    held = (await claim(db))[0]
    async with await connect(dsn) as provider, await connect(dsn) as worker:
        async with provider.transaction():
            late = await insert(provider, "late")
            extending = asyncio.create_task(claims.extend_turn(worker, engine="one", claim=held))
            await asyncio.sleep(0.2)
            assert not extending.done(), "it waits for the provider's commit"
        assert [m.id for m in await extending] == [late]


async def test_newer_messages_supersede_a_restartable_turn(db: Connection) -> None:
    await insert(db, "first")
    held = (await claim(db))[0]
    second = await insert(db, "second")
    restartable = Completion(**{**replied(held).__dict__, "restartable": True})
    assert await complete(db, restartable) == "superseded"
    more = await claims.extend_turn(db, engine="one", claim=held)
    assert [m.id for m in more] == [second]
    longer = Completion(**{**restartable.__dict__, "claim": held.extended(more)})
    assert await complete(db, longer) == "replied"
    assert (
        await column(db, "SELECT delivery_status FROM et_messages WHERE direction = 'inbound'")
        == ["inbound_ai_replied"] * 2
    )


async def test_release_gives_back_at_once(db: Connection) -> None:
    await insert(db, "hello")
    held = await claim(db, "one")
    assert await claims.release_turns(db, engine="one", claims=held) == 1
    assert len(await claim(db, "two")) == 1


async def test_the_sweep_heals_mailboxes(db: Connection) -> None:
    await insert(db, "hello")
    await db.execute("UPDATE et_threads SET due_at = NULL")
    assert await claim(db) == []
    assert await claims.sweep_mailboxes(db) == 1
    assert len(await claim(db)) == 1


@pytest.mark.parametrize("lost", ["released", "rescued", "orphaned"])
@pytest.mark.parametrize("reason", ["replay", "handed_back"])
async def test_what_an_operator_asked_for_stays_asked_for(db: Connection, lost: str, reason: str) -> None:
    await insert(db, "hello")
    await db.execute("UPDATE et_messages SET reason = %s", [reason])
    held = await claim(db, "one")
    assert held[0].asked_for
    if lost == "released":
        await claims.release_turns(db, engine="one", claims=held)
    elif lost == "rescued":
        await db.execute("UPDATE et_threads SET lease_until = now() - interval '1 s'")
        await claims.rescue_turns(db, max_attempts=5)
    else:
        await db.execute("UPDATE et_threads SET holder = NULL, lease_until = NULL")
        await claims.sweep_mailboxes(db)
    again = await claim(db, "two")
    assert again[0].asked_for, "else it would be too old to be answered"
