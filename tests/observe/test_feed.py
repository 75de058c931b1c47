"""A watch shows what changes, and asks no more than it must."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from engine.observe import feed as feeding
from engine.observe.feed import Beat, Feed, Pool


class Watched:
    """A watch at a quick pace: what it has told, and how often it has looked."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.looks = 0
        self.beats: asyncio.Queue[Beat[int]] = asyncio.Queue()
        self._looked = asyncio.Event()
        self._task = asyncio.create_task(self._follow())

    async def _load(self, pool: Pool) -> int:
        self.looks += 1
        self._looked.set()
        async with pool.connection() as connection:
            row = await (await connection.execute("SELECT count(*) AS n FROM et_leads")).fetchone()
            assert row is not None
            return int(row["n"])

    async def _follow(self) -> None:
        async for beat in self.feed.watch(self._load, every=0.02):
            self.beats.put_nowait(beat)

    async def told(self) -> Beat[int]:
        return await asyncio.wait_for(self.beats.get(), 10)

    async def look_again(self, times: int = 1) -> None:
        """Returns when it has looked so often more."""
        for _ in range(times):
            self._looked.clear()
            await asyncio.wait_for(self._looked.wait(), 5)

    async def end(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})


@pytest.fixture
async def watched(dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    monkeypatch.setattr(feeding, "CALM_SECONDS", 0.02)
    feed = Feed(dsn)
    await feed.open()
    watched = Watched(feed)
    assert await watched.told() == Beat(0)
    yield watched
    await watched.end()
    await feed.close()


async def a_lead(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("INSERT INTO et_leads (tenant_id) VALUES (1)")


async def test_what_somebody_commits_is_shown_without_a_notification(watched: Watched, dsn: str) -> None:
    await a_lead(dsn)
    assert await watched.told() == Beat(1)
    await a_lead(dsn)
    assert await watched.told() == Beat(2)


async def test_nobody_looks_again_while_nothing_is_written(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def the_same(_: Feed) -> str:  # others may write to other databases of the server
        nonlocal asked
        asked += 1
        return "7:7:"

    monkeypatch.setattr(feeding, "STALE_SECONDS", 60.0)
    monkeypatch.setattr(Feed, "_ask_snapshot", the_same)
    watched.feed.wake()
    await watched.look_again()
    await asyncio.sleep(0.3)
    asked, looks = 0, watched.looks
    await asyncio.sleep(0.3)
    assert asked > 3
    assert watched.looks == looks


async def test_what_is_not_committed_yet_is_seen_when_it_is(
    watched: Watched, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "STALE_SECONDS", 60.0)
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute("INSERT INTO et_leads (tenant_id) VALUES (1)")
        await a_lead(dsn)
        assert await watched.told() == Beat(1)
        await connection.commit()
        assert await watched.told() == Beat(2)


async def test_who_is_woken_looks_although_nothing_was_written(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "STALE_SECONDS", 60.0)
    watched.feed.wake()
    await watched.look_again()


async def test_what_changes_with_time_alone_is_looked_at_now_and_then(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "STALE_SECONDS", 0.1)
    await watched.look_again(3)


async def test_a_watch_without_snapshots_looks_every_time(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(_: Feed) -> str:
        await asyncio.sleep(60)
        raise AssertionError("not waited for")

    monkeypatch.setattr(feeding, "SNAPSHOT_SECONDS", 0.05)
    monkeypatch.setattr(Feed, "_ask_snapshot", hang)
    await watched.look_again(3)
