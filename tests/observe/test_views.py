"""What panes read: the right rows, and never at a cost that grows with history."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from engine.database.connection import Pool, open_pool, statement
from engine.observe import message_sql, records, threads, usage, views
from engine.observe.search import MessageSearch, parse_search
from tests.support.long_past import fill_history
from tests.support.postgres import Server
from tests.support.seed import Seed, plant

LONG = 300_000
ANY = MessageSearch()


@pytest.fixture
def seed(dsn: str) -> Seed:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return plant(connection)


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    pool = open_pool(dsn, size=2)
    await pool.open()
    yield pool
    await pool.close()


def ids(rows: Any) -> list[int]:
    return [row.id for row in rows]


async def test_pages_follow_each_other_without_a_gap(pool: Pool, seed: Seed) -> None:
    everything = sorted(seed.messages.values())
    first = await views.page_before(pool, ANY, limit=20)
    assert ids(first.rows) == everything[-20:]
    assert not first.end
    second = await views.page_before(pool, ANY, first.reached, limit=20)
    assert ids(second.rows) == everything[-40:-20]
    rest = await views.page_before(pool, ANY, second.reached, limit=500)
    assert ids(rest.rows) == everything[:-40]
    assert rest.end
    back = await views.page_after(pool, ANY, second.rows[-1].id, limit=500)
    assert ids(back.rows) == everything[-20:]
    assert back.end


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("status:error", ["error0", "error1", "error2"]),
        ("status:open", ["thinking", "waiting"]),
        ("status:failed", ["unknown.reply", "rejected.reply"]),
        ("status:accepted", ["burst.reply"]),
        ("provider:zai", ["fallback.reply"]),
        ("model:GLM", ["fallback.reply"]),
        ("tenant:2", ["other", "other.reply"]),
        ("real person", ["policy"]),
        ("reason:llm. dir:in", ["error0", "error1", "error2"]),
        ("cost>1", []),
        ("100%", []),
    ],
)
async def test_a_search_finds_what_it_says(pool: Pool, seed: Seed, words: str, names: list[str]) -> None:
    page = await views.page_before(pool, parse_search(words))
    assert ids(page.rows) == sorted(seed.messages[name] for name in names)
    assert page.end
    for whole in (False, True):
        assert sorted(await views.matching_ids(pool, parse_search(words), 100, whole=whole)) == ids(page.rows)


async def test_a_sparse_search_comes_back_after_a_bounded_look_and_can_go_on(
    pool: Pool, seed: Seed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_sql, "STRETCH", 5)
    monkeypatch.setattr(views, "LOOKS", 2)
    search = parse_search("walk-ins are welcome")
    found, before = [], views.TOP
    for _ in range(20):
        page = await views.page_before(pool, search, before)
        assert page.end or before == views.TOP or before - page.reached == 10
        found += ids(page.rows)
        before = page.reached
        if page.end:
            break
    assert found == [seed.messages["burst.reply"]]


async def test_the_tail_tells_what_is_new_what_has_changed_and_what_came_late(
    pool: Pool, seed: Seed, dsn: str
) -> None:
    page = await views.page_before(pool, ANY)
    seen, known = page.rows[-1].id, frozenset(ids(page.rows))
    quiet = await views.tail(pool, ANY, seen=seen, known=known, renew=[])
    assert (quiet.new, quiet.seen, quiet.gap) == ((), seen, False)

    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT setval('et_messages_id_seq', %s)", [seen + 2])
        insert = (
            "INSERT INTO et_messages ({}tenant_id, channel, direction, text_content, raw_payload, delivery_status)"
            " OVERRIDING SYSTEM VALUE VALUES ({}1, 'telegram', 'inbound', 'new', '{{\"from\": \"x\"}}', 'received')"
        )
        connection.execute(insert.format("", "").replace(" OVERRIDING SYSTEM VALUE", ""))
        later = await views.tail(pool, ANY, seen=seen, known=known, renew=[seed.messages["waiting"]])
        assert ids(later.new) == [seen + 3]
        assert ids(later.renewed) == [seed.messages["waiting"]]
        connection.execute(insert.format("id, ", f"{seen + 1}, "))  # took its number first, committed last
    late = await views.tail(pool, ANY, seen=later.seen, known=known | {seen + 3}, renew=[])
    assert ids(late.new) == [seen + 1]


async def test_a_flood_is_a_gap(pool: Pool, seed: Seed) -> None:
    tail = await views.tail(pool, ANY, seen=1, known=None, renew=[], limit=10)
    assert tail.gap
    assert len(tail.new) == 10
    assert tail.new[-1].id == max(seed.messages.values())


async def test_a_message_is_told_with_its_whole_trip(pool: Pool, seed: Seed) -> None:
    for asked in ("fallback", "fallback.reply"):
        detail = await views.message_detail(pool, seed.messages[asked])
        assert detail is not None
        assert detail.message.id == seed.messages[asked]
        assert detail.inbound is not None
        assert detail.inbound.text == "Is the x-ray included?"
        assert detail.outbound is not None
        assert detail.outbound.trace is not None
        assert detail.outbound.trace["provider"] == "zai"
        assert detail.turn is not None
        assert [call["ok"] for call in detail.turn["attempts"]] == [False, True]
        assert detail.send is not None
        assert detail.send["outcome"] == "confirmed"
    assert await views.message_detail(pool, 10**9) is None


async def test_the_rest_of_a_burst_shares_its_heads_reply(pool: Pool, seed: Seed) -> None:
    detail = await views.message_detail(pool, seed.messages["burst2"])
    assert detail is not None
    assert detail.outbound is not None
    assert detail.outbound.id == seed.messages["burst.reply"]
    trips = {trip.id: trip for trip in await views.trips(pool, 100)}
    assert trips[seed.messages["burst2"]].reply_id == seed.messages["burst.reply"]
    assert trips[seed.messages["waiting"]].reply_id is None


@pytest.mark.parametrize("wanted", ["+447700900210", "+44 7700 900210", "447700900210", "Priya R", "900231"])
async def test_a_conversation_is_found_by_number_or_name(pool: Pool, seed: Seed, wanted: str) -> None:
    expected = "waiting" if wanted == "900231" else "fallback"
    assert await views.find_thread(pool, wanted) == seed.threads[expected]


async def test_nothing_is_found_by_a_wildcard(pool: Pool, seed: Seed) -> None:
    assert await views.find_thread(pool, "%") is None
    assert await views.find_thread(pool, "  ") is None


async def test_sends_are_listed_by_status_and_the_unknown_ones_first(pool: Pool, seed: Seed) -> None:
    by_message = {row.message_id for row in await records.sends(pool, records.SendSearch(status=("failed",)))}
    assert by_message == {seed.messages["unknown.reply"], seed.messages["rejected.reply"]}
    unknown = await records.unknown_sends(pool)
    assert [row.message_id for row in unknown] == [seed.messages["unknown.reply"]]
    everything = await records.sends(pool, records.SendSearch())
    assert ids(everything) == sorted(ids(everything), reverse=True)
    older = await records.sends(pool, records.SendSearch(), before=everything[4].id)
    assert ids(older) == ids(everything[5:])
    told = await records.sends(pool, records.SendSearch(status=("sent",), channel="waha"))
    assert {row.status for row in told} == {"sent"}


async def test_turns_and_schema_runs_are_listed_newest_first(pool: Pool, seed: Seed) -> None:
    everything = await records.turns(pool)
    assert ids(everything) == sorted(seed.turns.values(), reverse=True)
    notable = await records.turns(pool, notable=True)
    assert {row.outcome for row in notable} == {"takeover", "error"}
    assert (await records.schema_runs(pool))[0].ok


async def test_usage_is_summed_by_model_and_held_against_the_cap(pool: Pool, seed: Seed) -> None:
    today = await usage.today(pool, engine_cap_usd=3.0)
    assert [(m.provider, m.turns) for m in today.models] == [("uniapi", 48), ("zai", 7)]
    assert today.cost_usd == pytest.approx(0.9628)
    first = today.budgets[0]
    assert (first.name, first.cap_usd) == ("Harbour Dental", 3.0)
    assert first.share == pytest.approx(0.9628 / 3)
    days = await usage.days(pool, datetime(2020, 1, 1, tzinfo=UTC))
    assert sum(day.turns for day in days) == 55
    async with pool.connection() as connection:
        arrivals = await usage.read_arrivals(connection)
        later = await usage.read_arrivals(connection, arrivals.newest)
    assert sum(map(sum, arrivals.minutes.values())) == len(seed.messages)
    assert arrivals.with_newer(later, 60) == arrivals


# Plans, at a size at which a bad one shows


@pytest.fixture(scope="module")
def long_past(embedded: Server) -> Iterator[psycopg.Connection[Any]]:
    name = embedded.migrated_database()
    with psycopg.connect(embedded.dsn(name), autocommit=True) as connection:
        fill_history(connection, LONG)
        yield connection
    embedded.drop(name)


def assert_flat(connection: psycopg.Connection[Any], query: bytes, params: Any = None) -> None:
    """No sequential scan of a table that grows, and few rows touched."""
    kind: type[psycopg.Cursor[Any]] = psycopg.RawCursor if b"$1" in query else psycopg.Cursor
    with kind(connection) as cursor:
        cursor.execute(b"EXPLAIN (ANALYZE, FORMAT JSON, COSTS OFF) " + query, params)
        plan = cursor.fetchone()
    assert plan is not None
    for node in _nodes(plan[0][0]["Plan"]):
        touched = node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0)
        scanned = node.get("Relation Name", "")
        assert not (
            node["Node Type"] == "Seq Scan" and re.match("et_(messages|outbound|turns|threads)", scanned)
        ), node
        assert touched <= message_sql.STRETCH + views.PAGE, node


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


@pytest.mark.xdist_group("long past")
@pytest.mark.parametrize(
    "words",
    [
        "",
        "status:error",
        "status:open",
        "status:failed",
        "status:person",
        "status:sent",
        "status:queued",
        "thread:77",
        "tenant:5",
        "channel:nowhere",
        "cost>100",
        "no such words",
    ],
)
@pytest.mark.parametrize("before", [LONG + 1, LONG // 2])
def test_no_page_of_messages_reads_history(long_past: Any, words: str, before: int) -> None:
    search = parse_search(words)
    _, stretched = message_sql.source(search)
    values = message_sql.values(search) | {"limit": views.PAGE}
    floor = before - message_sql.STRETCH if stretched else 0
    assert_flat(long_past, message_sql.older(search).encode(), values | {"before": before, "floor": floor})
    ceiling = before + message_sql.STRETCH if stretched else LONG
    assert_flat(long_past, message_sql.newer(search).encode(), values | {"after": before, "ceiling": ceiling})


@pytest.mark.xdist_group("long past")
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("newest_message", [2**63 - 1]),
        ("message_rows", [list(range(LONG - 200, LONG))]),
        ("trips", [40, LONG - views.TRIP_STRETCH]),
        ("message_detail", [LONG // 2]),
        ("message_turns", [LONG // 2]),
        ("message_reply", [LONG // 2]),
        ("message_send", [LONG // 2 + 1]),
        ("find_address", [["a77", "+a77"], list(views.CHANNELS)]),
        ("find_name", ["%nobody%", views.RECENT_THREADS]),
        ("thread_rows", [list(range(1, 51))]),
        ("conversation", [77, views.TOP, 100]),
        ("conversation_notes", [77, threads.ALWAYS, threads.NEVER]),
        ("thread_draft", [77]),
        ("send_rows", [list(range(1, 200))]),
        ("sends_unknown", [message_sql.MOST]),
        ("turns_page", [views.TOP, 200]),
        ("turns_notable", [views.TOP, 200]),
        ("schema_runs", [views.TOP, 50]),
        ("arrivals", [0, usage.ARRIVALS]),
        ("arrivals", [LONG, usage.ARRIVALS]),
        ("usage_today", []),
        ("budgets_today", [None]),
    ],
)
def test_no_statement_of_a_pane_reads_history(long_past: Any, name: str, params: list[Any]) -> None:
    assert_flat(long_past, statement(name), params)
