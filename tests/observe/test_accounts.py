"""What is left on the providers' accounts: asked once for all engines, kept with its age, and never made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from engine.database.connection import Connection, Pool, open_pool
from engine.demo.far_end import FarEnd
from engine.llm.router import Router, build_router
from engine.observe.accounts import Account, accounts
from engine.settings import load_settings
from engine.supervisor.balances import BalanceWatch


@pytest.fixture
def far() -> Iterator[FarEnd]:
    with FarEnd() as far:
        yield far


@pytest.fixture
async def router(far: FarEnd) -> AsyncIterator[Router]:
    router = build_router(
        load_settings(
            uniapi_base_url=far.uniapi_url, zai_base_url=far.zai_url, uniapi_api_key="k-1", zai_api_key="k-2"
        )
    )
    yield router
    await router.aclose()


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    pool = open_pool(dsn, size=4)
    await pool.open(wait=True)
    yield pool
    await pool.close()


async def told(db: Connection) -> dict[str, Account]:
    return {account.provider: account for account in await accounts(db, datetime.now(UTC))}


async def reading(db: Connection, hours_ago: float, usd: float) -> None:
    at = datetime.now(UTC) - timedelta(hours=hours_ago)
    await db.execute(
        "INSERT INTO et_provider_balances (provider, hour, asked_at, state, balance_usd, told_at)"
        " VALUES ('uniapi', date_trunc('hour', %s::timestamptz), %s, 'told', %s, %s)",
        [at, at, usd, at],
    )


async def used(db: Connection, days_ago: int, usd: float) -> None:
    await db.execute(
        "INSERT INTO et_usage_hourly (hour, tenant_id, agent_id, task, provider, model, turns, cost_usd)"
        " VALUES (date_trunc('hour', now()) - make_interval(days => %s), 1, 1, 'c', 'uniapi', 'm', 1, %s)",
        [days_ago, usd],
    )


async def test_what_a_provider_tells_is_kept_and_what_none_tells_is_said(
    pool: Pool, db: Connection, router: Router
) -> None:
    await BalanceWatch(pool, router).look()
    found = await told(db)
    assert (found["uniapi"].state, found["uniapi"].balance_usd) == ("told", 12.34)
    assert found["uniapi"].age_seconds is not None
    assert found["uniapi"].age_seconds < 60
    assert (found["zai"].state, found["zai"].balance_usd, found["zai"].days_left) == ("untold", None, None)


async def test_many_engines_ask_once(pool: Pool, db: Connection, router: Router, far: FarEnd) -> None:
    await asyncio.gather(*(BalanceWatch(pool, router).look() for _ in range(6)))
    assert far.balances == 1
    await BalanceWatch(pool, router).look()
    assert far.balances == 1
    await BalanceWatch(pool, router, every=0).look()
    assert far.balances == 2


async def test_two_engines_at_the_same_moment_ask_once(
    pool: Pool, db: Connection, router: Router, far: FarEnd
) -> None:
    async with db.transaction():
        await db.execute(
            "INSERT INTO et_provider_balances (provider, hour) VALUES ('uniapi', date_trunc('hour', now()))"
        )
        other = asyncio.create_task(BalanceWatch(pool, router).look())
        await asyncio.sleep(0.3)
        assert not other.done(), "it waits for what the first one writes"
    await other
    assert far.balances == 0


async def test_a_provider_without_a_key_is_not_asked(pool: Pool, db: Connection, far: FarEnd) -> None:
    router = build_router(load_settings(uniapi_base_url=far.uniapi_url, zai_base_url=far.zai_url))
    await BalanceWatch(pool, router).look()
    await router.aclose()
    assert far.balances == 0
    assert await told(db) == {}


async def test_a_question_that_fails_leaves_the_balance_of_before_with_its_age(
    pool: Pool, db: Connection, router: Router, far: FarEnd
) -> None:
    watch = BalanceWatch(pool, router, every=0)
    await watch.look()
    far.uniapi.mode = "500"
    await watch.look()
    (account, _) = await accounts(db, datetime.now(UTC))
    assert (account.state, account.balance_usd) == ("failed", 12.34)
    assert account.problem is not None
    assert account.problem.startswith("transient: ")
    assert account.told_at is not None
    assert account.told_at < account.asked_at
    assert router.health()[0].state == "unknown", "no chat has failed"


async def test_an_answer_that_comes_after_the_next_question_is_not_kept(
    pool: Pool, db: Connection, router: Router, far: FarEnd
) -> None:
    far.uniapi.latency_seconds = 0.5
    slow = asyncio.create_task(BalanceWatch(pool, router).look())
    await asyncio.sleep(0.2)
    await db.execute(
        "UPDATE et_provider_balances SET asked_at = now(), state = 'told', balance_usd = 3, told_at = now()"
    )
    await slow
    assert (await told(db))["uniapi"].balance_usd == 3


async def test_the_pace_is_what_the_account_lost_and_a_top_up_is_no_gain(db: Connection) -> None:
    for hours_ago, usd in ((48, 10), (36, 8), (24, 7), (23, 27), (0, 25)):
        await reading(db, hours_ago, usd)
    await used(db, 1, 700)
    account = (await told(db))["uniapi"]
    assert account.burn_from == "balance"
    assert account.burn_usd == pytest.approx(2.5, rel=0.01)
    assert account.days_left == pytest.approx(10, rel=0.01)


async def test_without_losses_the_pace_is_that_of_the_turns(db: Connection) -> None:
    await reading(db, 0, 6)
    assert (await told(db))["uniapi"].days_left is None
    await used(db, 4, 8)
    account = (await told(db))["uniapi"]
    assert (account.burn_from, account.days_left) == ("usage", pytest.approx(3, rel=0.02))


async def test_an_overdrawn_account_lasts_no_day(db: Connection) -> None:
    for hours_ago, usd in ((12, 1), (0, -2)):
        await reading(db, hours_ago, usd)
    account = (await told(db))["uniapi"]
    assert (account.balance_usd, account.days_left) == (-2, 0)


async def test_old_answers_go(pool: Pool, db: Connection, router: Router) -> None:
    await reading(db, 24 * 40, 99)
    await BalanceWatch(pool, router).look()
    row = await (
        await db.execute("SELECT count(*) AS n FROM et_provider_balances WHERE provider = 'uniapi'")
    ).fetchone()
    assert row is not None
    assert row["n"] == 1
