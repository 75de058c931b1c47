"""What the inbox reads: who wants a person, pages of the rest, and that it stays cheap however much was said."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from engine.database.connection import Pool
from engine.model import InboundStatus
from engine.observe.inbox import (
    PAGE,
    STRETCH,
    Edge,
    ThreadSearch,
    desk_words,
    inbox,
    older_threads,
    open_thread,
    parse_threads,
)
from engine.observe.search import SearchError
from engine.observe.threads import NEVER, conversation, thread_rows
from engine.observe.views import TOP
from tests.support.conversations import ME, Planted, plant_inbox
from tests.support.crowd import THREADS
from tests.support.plans import assert_bounded, plans
from tests.support.rows import connect

CROWD = pytest.mark.xdist_group("crowd")
NOTHING = [None] * 10


@pytest.fixture
def planted(dsn: str) -> Iterator[Planted]:
    with connect(dsn) as connection:
        yield Planted(connection, datetime.now(UTC))


@pytest.fixture
def threads(planted: Planted) -> dict[str, int]:
    return plant_inbox(planted.plant.connection, planted.now)


# What is found


async def test_those_who_want_a_person_come_first_longest_first(pool: Pool, threads: dict[str, int]) -> None:
    found = await inbox(pool, ThreadSearch())
    assert [row.id for row in found.urgent] == [
        threads[name] for name in ("ben", "anna", "dora", "emil", "carla")
    ]
    assert [row.id for row in found.recent] == [threads["gus"], threads["frida"]]
    assert found.edge.end
    anna = next(row for row in found.urgent if row.id == threads["anna"])
    assert (anna.who, anna.owner, anna.operator, anna.waiting, anna.unread) == (
        "Anna Berger",
        "human",
        ME,
        True,
        2,
    )
    assert anna.waiting_since is not None
    assert anna.last_inbound_at is not None
    assert anna.waiting_since < anna.last_inbound_at, "since the first unanswered word, not the last"
    assert anna.window_until is not None


async def test_who_asks_again_does_not_lose_the_place(pool: Pool, planted: Planted) -> None:
    human = {"owner": "human", "owner_since": planted.ago(90)}
    first = planted.thread("First", "first", 1, **human)
    planted.said(first, "hello?", 60, InboundStatus.HUMAN_TAKEOVER)
    planted.said(first, "hello!?", 1, InboundStatus.HUMAN_TAKEOVER)
    second = planted.thread("Second", "second", 30, **human)
    planted.said(second, "hello?", 30, InboundStatus.HUMAN_TAKEOVER)
    assert [row.id for row in (await inbox(pool, ThreadSearch())).urgent] == [first, second]


async def test_what_the_ai_still_works_on_or_may_not_answer_is_not_urgent(
    pool: Pool, planted: Planted
) -> None:
    def given_up(name: str, reason: str, **columns: Any) -> int:
        thread = planted.thread(name, name, 5, **columns)
        message = planted.said(thread, "hello?", 5, InboundStatus.HUMAN_TAKEOVER, reason=reason)
        planted.draft(thread, message, "", 5, reason=reason)
        return thread

    stale = given_up("stale", "policy.stale")
    given_up("due", "policy.stale", due_at=planted.now)
    given_up("held", "policy.stale", holder="engine-1", lease_until=planted.ago(-5))
    given_up("stop", "policy.opt_out")
    answered = given_up("answered", "policy.stale")
    planted.plant.connection.execute(
        "UPDATE et_threads SET last_message_at = now() + interval '1 second' WHERE id = %s", [answered]
    )
    assert [row.id for row in (await inbox(pool, ThreadSearch())).urgent] == [stale]


async def test_a_search_narrows_both_parts(pool: Pool, threads: dict[str, int]) -> None:
    async def found(words: str) -> list[int]:
        view = await inbox(pool, parse_threads(words, ME))
        return [row.id for row in (*view.urgent, *view.recent)]

    assert await found("mine") == [threads["anna"]]
    assert await found("person waiting") == [threads["ben"], threads["anna"]]
    assert await found("ai waiting") == [threads["dora"], threads["emil"]]
    assert await found("whatsapp_cloud") == [threads["anna"]]
    assert await found("BERGER") == [threads["anna"]]
    assert await found("+49 170") == [threads["anna"]]
    assert await found("100%") == [], "no wildcard"
    assert await found("tenant:2") == []


async def test_labels_owners_and_sleep_narrow_both_parts(
    pool: Pool, planted: Planted, threads: dict[str, int]
) -> None:
    rows = planted.plant.connection

    async def found(words: str) -> list[int]:
        view = await inbox(pool, parse_threads(words, ME))
        return [row.id for row in (*view.urgent, *view.recent)]

    rows.execute('UPDATE et_threads SET labels = \'["vip", "late"]\' WHERE id = %s', [threads["ben"]])
    rows.execute("UPDATE et_threads SET labels = '[\"vip\"]' WHERE id = %s", [threads["gus"]])
    assert await found("label:vip") == [threads["ben"], threads["gus"]]
    assert await found("label:late label:vip") == [threads["ben"]]
    assert await found("label:vi") == []

    rows.execute("UPDATE et_threads SET operator = 'otto' WHERE id = %s", [threads["frida"]])
    assert await found("assigned:otto") == [threads["carla"], threads["frida"]]
    assert threads["ben"] in await found("unassigned")
    assert not {threads["carla"], threads["frida"], threads["anna"]} & set(await found("unassigned"))

    rows.execute(
        "UPDATE et_threads SET snoozed_until = now() + interval '1 h' WHERE id IN (%s, %s)",
        [threads["ben"], threads["dora"]],
    )
    everything = await inbox(pool, ThreadSearch())
    assert not {threads["ben"], threads["dora"]} & {row.id for row in everything.urgent}
    assert {threads["ben"], threads["dora"]} <= {row.id for row in everything.recent}, "asleep, not gone"
    assert await found("snoozed") == [threads["ben"], threads["dora"]]
    assert threads["ben"] not in await found("waiting")
    rows.execute(
        "UPDATE et_threads SET snoozed_until = now() - interval '1 s' WHERE id = %s", [threads["ben"]]
    )
    assert threads["ben"] in [row.id for row in (await inbox(pool, ThreadSearch())).urgent], "back by itself"
    assert await found("snoozed") == [threads["dora"]]
    rows.execute(
        "UPDATE et_threads SET paused_at = now() WHERE id IN (%s, %s)", [threads["ben"], threads["gus"]]
    )
    assert await found("paused") == [threads["ben"], threads["gus"]]
    assert (await desk_words(pool)).labels == ("vip", "late")


def test_what_is_not_known_is_said() -> None:
    assert parse_threads("mine telegram Anna B", ME) == ThreadSearch(
        operator=ME, channel="telegram", text="Anna B"
    )
    assert parse_threads("waiting unassigned label:VIP label:late", ME) == ThreadSearch(
        waiting=True, snoozed=False, unassigned=True, labels=("vip", "late")
    )
    assert parse_threads("snoozed assigned:otto", ME) == ThreadSearch(snoozed=True, operator="otto")
    assert parse_threads("assigned:me", ME) == parse_threads("mine", ME)
    assert not parse_threads("  ", ME)
    with pytest.raises(SearchError, match="tenant:1"):
        parse_threads("colour:red", ME)


async def test_the_open_conversation_comes_with_its_draft_and_notes(
    pool: Pool, threads: dict[str, int]
) -> None:
    emil = await open_thread(pool, threads["emil"])
    assert emil is not None
    assert emil.draft is not None
    assert (emil.draft.turn_id, emil.draft.reason) == (threads["draft"], "suggested")
    anna = await open_thread(pool, threads["anna"])
    assert anna is not None
    assert anna.draft is None
    assert [item.kind for item in anna.talk.said].count("note") == 1
    times = [item.at for item in anna.talk.said]
    assert times == sorted(times)
    assert next(item for item in anna.talk.said if item.author == "human").operator == ME
    assert await open_thread(pool, 10**9) is None


# However long the history


@CROWD
async def test_pages_follow_each_other_without_gap_or_repetition(crowd: Pool) -> None:
    first = await inbox(crowd, ThreadSearch())
    seen = [row.id for row in first.recent]
    edge = first.edge
    for _ in range(4):
        rows, edge = await older_threads(crowd, ThreadSearch(), edge)
        seen += [row.id for row in rows]
        assert not edge.end
    urgent = {row.id for row in first.urgent}
    newest = [i for i in range(1, 10 * PAGE) if i not in urgent]
    assert [i for i in seen if i not in urgent] == newest[: len([i for i in seen if i not in urgent])]
    assert len(set(seen)) == len(seen) >= 4 * PAGE


@CROWD
async def test_a_search_looks_on_until_it_has_found_something_or_looked_long_enough(crowd: Pool) -> None:
    search = ThreadSearch(text=f"Customer {THREADS - 1}")
    rows, edge = await older_threads(crowd, search, Edge())
    assert rows == ()
    assert not edge.end
    while not edge.end:
        more, edge = await older_threads(crowd, search, edge)
        rows += more
    assert [row.id for row in rows] == [THREADS - 1]


@CROWD
@pytest.mark.parametrize(
    ("name", "values", "most"),
    [
        ("threads_urgent", [300, 300, *NOTHING, 120], 6_000),
        (
            "threads_urgent",
            [300, 300, "human", True, "telegram", "%9%", 1, "lena", False, '["vip"]', None, True, 120],
            6_000,
        ),
        ("threads_recent", [NEVER, TOP, PAGE, *NOTHING], 2 * PAGE),
        ("threads_recent", [NEVER, TOP, STRETCH, "ai", None, None, "%9%", *NOTHING[4:]], 2 * STRETCH),
        ("desk_words", [2_000], 8_000),
        ("thread_rows", [list(range(1, 181))], 3_600),
        ("conversation", [77, TOP, 100], 200),
        ("conversation_notes", [77, datetime(2000, 1, 1, tzinfo=UTC), NEVER], 500),
        ("thread_draft", [77], 40),
    ],
)
def test_no_statement_reads_history_whatever_its_values(
    crowd_dsn: str, name: str, values: list[Any], most: int
) -> None:
    assert_bounded(plans(crowd_dsn, name, values), most)


@CROWD
@pytest.mark.bench
async def test_a_look_takes_no_longer_than_20_ms(crowd: Pool) -> None:
    for search in (ThreadSearch(), ThreadSearch(text="9")):
        taken = []
        for _ in range(20):
            begun = time.perf_counter()
            await inbox(crowd, search, chosen=77)
            taken.append(time.perf_counter() - begun)
        assert sorted(taken)[len(taken) // 2] <= 0.020


async def test_rows_come_in_the_order_asked_for_and_nothing_else(pool: Pool, threads: dict[str, int]) -> None:
    wanted = [threads["frida"], 10**9, threads["anna"]]
    assert [row.id for row in await thread_rows(pool, wanted)] == [threads["frida"], threads["anna"]]
    assert await thread_rows(pool, []) == ()


async def test_a_conversation_is_read_backwards(pool: Pool, planted: Planted) -> None:
    thread = planted.thread("Long", "long", 1)
    said = [planted.said(thread, f"{number}", 300 - number) for number in range(250)]
    planted.plant.plant(
        "et_notes", thread_id=thread, author="otto", text_content="old", created_at=planted.ago(299.5)
    )
    newest = await conversation(pool, thread)
    middle = await conversation(pool, thread, before=newest.oldest)
    oldest = await conversation(pool, thread, before=middle.oldest)
    assert (newest.end, middle.end, oldest.end) == (False, False, True)
    found = [item for stretch in (oldest, middle, newest) for item in stretch.said]
    assert [item.id for item in found if item.kind == "message"] == said
    assert [item.text for item in found if item.kind == "note"] == ["old"]
