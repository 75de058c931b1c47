"""Search: what words find, with each index there can be and with none, how it is bounded, and what it costs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from engine.database import search_index
from engine.database.connection import Pool, fetch, open_pool
from engine.database.migrations import migrate, plan
from engine.model import InboundStatus
from engine.observe import views
from engine.observe.finding import Found, find
from engine.observe.hits import excerpt, spans
from engine.observe.search import MessageSearch, SearchError, parse_search
from tests.support.conversations import HOSTILE
from tests.support.postgres import Server
from tests.support.rows import Planter, connect

SAID = {
    "refund": "Where is my REFUND for order-4711?",
    "apostrophe": "It's the customer's fault & mine: 100% | <b>",
    "within": "prerefunded, they said",
    "umlaut": "Die Überweisung für München ist da",
    "chinese": "我的订单在哪里",
    "long": "x " * 900 + "needle in a haystack",
    "hostile": HOSTILE + " payload",
}


@pytest.fixture
def said(any_server: Server) -> Iterator[tuple[str, dict[str, int]]]:
    """A database of each server with a message for each of `SAID`."""
    name = any_server.empty_database()
    dsn = any_server.dsn(name)
    assert migrate(dsn).ok
    with connect(dsn) as connection:
        planter = Planter(connection)
        lead = planter.plant("et_leads", tenant_id=1, name="Anna Berger")
        connection.execute(
            "INSERT INTO et_lead_addresses (tenant_id, channel, address, lead_id) VALUES (1, 'waha', %s, %s)",
            ["491705550101@c.us", lead],
        )
        thread = planter.thread(lead_id=lead, address="491705550101@c.us", channel="waha")
        ids = {
            key: planter.inbound(InboundStatus.AI_REPLIED, text_content=text, thread_id=thread)
            for key, text in SAID.items()
        }
        connection.execute("ANALYZE")
    yield dsn, {"thread": thread, **ids}
    any_server.drop(name)


@pytest.fixture
async def pool(said: tuple[str, dict[str, int]]) -> AsyncIterator[Pool]:
    async with open_pool(said[0], size=2) as opened:
        yield opened


@pytest.fixture
def ids(said: tuple[str, dict[str, int]]) -> dict[str, int]:
    return said[1]


async def pending(pool: Pool) -> int:
    """Pages of new entries that were not merged yet; they are now."""
    async with pool.connection() as connection:
        found = await fetch(connection, "merge_search", 1, [search_index.WORDS, search_index.PIECES])
    return int(found[0]["pages"] or 0)


def numbers(found: Found) -> set[int]:
    return {message.message_id for message in found.messages}


async def test_words_in_any_case_and_order_by_their_beginning(pool: Pool, ids: dict[str, int]) -> None:
    for words in ("refund order", "ORDER refund", "refu", '"my refund"', "4711", "order-47", "text:refund"):
        found = await find(pool, words)
        assert ids["refund"] in numbers(found), words
        assert found.how in ("words", "pieces")
    assert numbers(await find(pool, "refund zzzzzz")) == set()
    assert numbers(await find(pool, "überweisung")) == {ids["umlaut"]}
    assert numbers(await find(pool, "refund dir:out")) == set()


async def test_signs_are_taken_literally_and_break_nothing(pool: Pool, ids: dict[str, int]) -> None:
    for words in ("it's", "100%", "customer's", "<b>", "a'b\\", "&", "!", "':*", "''", "%", "_", "|&!"):
        found = await find(pool, words)
        pieces = [piece.lower() for piece in parse_search(words).pieces]
        expected = {ids[key] for key, text in SAID.items() if all(p in text.lower() for p in pieces)}
        assert numbers(found) <= expected or found.how == "similar", f"{words}: never more than what is said"
        assert numbers(found) or not expected, words


async def test_pieces_within_words_are_found_in_the_end(pool: Pool, ids: dict[str, int]) -> None:
    found = await find(pool, "erefun")
    assert numbers(found) == {ids["within"]}
    assert found.how == "pieces" or "within a word" in (found.note or "")
    assert numbers(await find(pool, "订单")) == {ids["chinese"]}


async def test_misspelt_words_are_found_where_there_are_trigrams(pool: Pool, ids: dict[str, int]) -> None:
    found = await find(pool, "haystakc")
    async with pool.connection() as connection:
        trigrams = (await search_index.state(connection)).pieces
    if trigrams:
        assert numbers(found) == {ids["long"]}
        assert (found.how, found.note) == ("similar", "No such words; these are like them.")
        (message,) = found.messages
        assert [message.text[a:b] for a, b in message.hits] == ["haystack"]
    else:
        assert numbers(found) == set()


async def test_a_hit_is_shown_wherever_it_lies_and_nothing_hostile_is(
    pool: Pool, ids: dict[str, int]
) -> None:
    (message,) = (await find(pool, "needle")).messages
    assert message.text.startswith("…")
    assert len(message.text) <= 300
    assert [message.text[a:b] for a, b in message.hits] == ["needle"]
    (message,) = (await find(pool, "payload")).messages
    assert not any(character in message.text for character in "\x1b\x07\u202e\u200b\n")
    assert [message.text[a:b] for a, b in message.hits] == ["payload"]


async def test_conversations_are_found_by_name_and_by_any_end_of_a_number(
    pool: Pool, ids: dict[str, int]
) -> None:
    for words in ("berger", "anna berger", "+49 170 5550101", "0170 555 0101", "5550101"):
        found = await find(pool, words)
        assert [thread.thread_id for thread in found.conversations] == [ids["thread"]], words
    assert (await find(pool, "nobody")).conversations == []
    assert (await find(pool, "%")).conversations == [], "no wildcard"


async def test_pages_follow_each_other_by_id(pool: Pool, said: tuple[str, dict[str, int]]) -> None:
    with connect(said[0]) as connection:
        planter = Planter(connection)
        wanted = [
            planter.inbound(InboundStatus.AI_REPLIED, text_content=f"parcel {n}", thread_id=said[1]["thread"])
            for n in range(45)
        ]
    seen: list[int] = []
    before = views.TOP
    for _ in range(5):
        found = await find(pool, "parcel", before=before, limit=20)
        seen += [message.message_id for message in found.messages]
        if found.next_before is None:
            break
        before = found.next_before
    assert seen == sorted(wanted, reverse=True)


async def test_a_search_without_an_index_goes_through_stretches_and_finds_the_same(
    pool: Pool, said: tuple[str, dict[str, int]]
) -> None:
    with connect(said[0]) as connection:
        for name in search_index.NAMES:
            connection.execute(f"DROP INDEX IF EXISTS {name}".encode())
    found = await find(pool, "refund")
    assert found.how == "scan"
    assert numbers(found) == {said[1]["refund"], said[1]["within"]}


async def test_what_takes_too_long_is_given_up_with_advice(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "engine.observe.message_sql.older",
        lambda *_, **__: "SELECT 1 AS id, pg_sleep(9) WHERE %(before)s > 0",
    )
    monkeypatch.setattr("engine.observe.views.SEARCH_SECONDS", 0.2)
    with pytest.raises(SearchError, match="add a word"):
        await find(pool, "refund")


async def test_rare_words_are_looked_up_and_common_ones_are_not(
    pool: Pool, said: tuple[str, dict[str, int]]
) -> None:
    """Far from the newest, so that nothing but the index can have found it, and what the planner did."""
    with connect(said[0]) as connection:
        waiting = Planter(connection).inbound(
            InboundStatus.RECEIVED, text_content="underway", thread_id=said[1]["thread"]
        )
        connection.execute(
            """INSERT INTO et_messages (tenant_id, thread_id, channel, direction, text_content, delivery_status, author)
               SELECT 1, %s, 'waha', 'outbound', 'filling ' || n, 'sent', 'ai' FROM generate_series(1, 12000) n""",
            [said[1]["thread"]],
        )
        connection.execute("ANALYZE et_messages")
    await pending(pool)  # for so many entries in their lists the planner would rather read the whole table
    assert numbers(await find(pool, "haystack")) == {said[1]["long"]}
    assert numbers(await find(pool, "underway")) == {waiting}, "not indexed yet, and found all the same"
    page = await views.page_before(pool, MessageSearch(text="filling"))
    assert len(page.rows) == views.PAGE
    from engine.observe import message_sql

    search = MessageSearch(text="haystack")
    async with pool.connection() as connection:
        way = (await search_index.state(connection)).way
        query = "EXPLAIN (ANALYZE, COSTS OFF) " + message_sql.older(search, way, indexed=True)
        cursor = await connection.execute(
            query.encode(), {**message_sql.values(search), "before": 12_000, "floor": 0, "limit": 200}
        )
        lines = "\n".join(str(row) for row in await cursor.fetchall())
    assert "Seq Scan on et_messages" not in lines, lines
    assert "et_messages_words" in lines or "et_messages_pieces" in lines, lines


# The indexes


def test_a_plan_of_a_large_old_database_makes_them_out_of_the_way(
    said: tuple[str, dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn, _ = said
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name in search_index.NAMES:
            connection.execute(f"DROP INDEX IF EXISTS {name}".encode())
        connection.execute("UPDATE et_schema_runs SET fingerprint = 'older'")
        monkeypatch.setattr(search_index, "SMALL_BYTES", 0)
        planned = [text for text in plan(dsn).steps[1].statements if "et_messages_words" in text]
        assert len(planned) == 1
        assert "while engines run" in planned[0]
        assert "CREATE INDEX CONCURRENTLY" in planned[0]
        run = migrate(dsn)
        assert run.ok, run.blockers
        assert not search_index.state_now(connection).words  # type: ignore[union-attr]


async def test_an_engine_makes_them_and_mends_one_that_was_left_half_built(
    said: tuple[str, dict[str, int]], pool: Pool
) -> None:
    dsn, ids = said
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'et_messages_words'::regclass"
        )
        assert search_index.state_now(connection).half_built == ["et_messages_words"]  # type: ignore[union-attr]
    await search_index.make(dsn)
    async with pool.connection() as connection_:
        found = await search_index.state(connection_)
    assert found.words
    assert found.half_built == []
    assert found.missing() == []
    assert numbers(await find(pool, "refund order")) == {ids["refund"]}


async def test_an_index_made_with_other_options_gets_ours(
    said: tuple[str, dict[str, int]], pool: Pool
) -> None:
    async with pool.connection() as connection:
        await connection.execute("ALTER INDEX et_messages_words SET (gin_pending_list_limit = 1024)")
        assert (await search_index.state(connection)).otherwise == ["et_messages_words"]
        await search_index.make(said[0])
        assert (await search_index.state(connection)).otherwise == []


async def test_new_entries_are_merged_in_a_quiet_moment_or_when_they_are_many(
    said: tuple[str, dict[str, int]], pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "MERGE_AT_MOST", 10)
    merging = search_index.Merging(pool)

    def settle(words: str) -> None:
        with connect(said[0]) as connection:
            Planter(connection).inbound(
                InboundStatus.AI_REPLIED, text_content=words, thread_id=said[1]["thread"]
            )

    await pending(pool)
    settle("piled up")
    await merging.look(1, busy=True)
    assert numbers(await find(pool, "piled")), "found before it is merged"
    assert await pending(pool) > 0, "a busy engine leaves a few alone"
    settle("a quiet moment")
    await merging.look(1, busy=False)
    assert await pending(pool) == 0
    assert numbers(await find(pool, "quiet")), "found after it was merged"
    settle("nothing of ours")
    await merging.look(1, busy=False)
    assert await pending(pool) > 0, "an engine that has ended nothing since looks after nothing"
    settle("many")
    await merging.look(11, busy=True)
    assert await pending(pool) == 0


async def test_whose_indexes_they_are_not_leaves_them_to_autovacuum(
    said: tuple[str, dict[str, int]], pool: Pool
) -> None:
    async with pool.connection() as connection:
        await connection.execute(
            "DO $$ BEGIN CREATE ROLE et_guest; EXCEPTION WHEN duplicate_object THEN END $$"
        )
    async with open_pool(make_conninfo(said[0], options="-c role=et_guest"), size=1) as guest:
        merging = search_index.Merging(guest)
        for settled in (1, 2):
            await merging.look(settled, busy=False)


def test_excerpts_begin_before_the_hit() -> None:
    text = "a" * 500 + " hit " + "b" * 500
    shown = excerpt(text, ["HIT"], 100)
    assert len(shown) <= 100
    assert [shown[a:b] for a, b in spans(shown, ["hit"])] == ["hit"]
    assert excerpt("short hit", ["hit"]) == "short hit"
    assert spans("anything", []) == []
    assert spans("a.b*c", [".", "*"]) == [(1, 2), (3, 4)]
