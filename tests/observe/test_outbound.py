"""What Outbound reads: groups in the order they want attention, and that it stays cheap however much was sent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from engine.database.connection import Pool
from engine.observe.outbound import (
    DEFAULT,
    EACH,
    GROUPS,
    LOOK,
    OPEN,
    PAGE,
    SendSearch,
    matching_ids,
    older_sends,
    outbound,
    parse_sends,
    send_detail,
)
from engine.observe.search import SearchError
from engine.observe.views import TOP
from tests.support.conversations import plant_outbound
from tests.support.plans import assert_bounded, plans
from tests.support.rows import connect

CROWD = pytest.mark.xdist_group("crowd")
NOTHING = [None] * 4


@pytest.fixture
def sends(dsn: str) -> Iterator[dict[str, int]]:
    with connect(dsn) as connection:
        yield plant_outbound(connection, datetime.now(UTC))


async def found(pool: Pool, words: str) -> dict[str, list[int]]:
    view = await outbound(pool, parse_sends(words))
    return {group: [row.id for row in rows] for group, rows, _ in view.groups}


async def test_groups_come_in_the_order_in_which_they_want_a_person(
    pool: Pool, sends: dict[str, int]
) -> None:
    assert await found(pool, "") == {
        "unknown": [sends["unknown"]],
        "failed": [sends["hostile"], sends["failed"]],
        "retry": [sends["retry"]],
        "sending": [sends["sending"]],
        "queued": [sends["queued"], sends["held"]],
        "sent": [sends["sent"]],
    }
    assert list(await found(pool, "")) == list(DEFAULT)
    assert await found(pool, "cancelled") == {"cancelled": [sends["cancelled"]]}


async def test_conditions_narrow_every_group(pool: Pool, sends: dict[str, int]) -> None:
    assert await found(pool, "class:permanent") == {"failed": [sends["failed"]]}
    assert await found(pool, "telegram") == {}
    assert await found(pool, "failed unknown channel:simulator") == {
        "unknown": [sends["unknown"]],
        "failed": [sends["hostile"], sends["failed"]],
    }
    row = (await outbound(pool, parse_sends("queued"))).groups[0][1][0]
    assert await found(pool, f"thread:{row.thread_id}") == {"queued": [row.id]}
    assert await found(pool, "tenant:2") == {}
    assert await matching_ids(pool, parse_sends("retry queued")) == {
        "retry": [sends["retry"]],
        "queued": [sends["queued"], sends["held"]],
    }


def test_what_is_not_known_is_said() -> None:
    assert parse_sends("waiting retrying") == SendSearch(groups=("retry", "queued"))
    assert parse_sends("retry_scheduled processing") == SendSearch(groups=("retry", "sending"))
    assert not parse_sends("")
    with pytest.raises(SearchError, match="class:permanent"):
        parse_sends("perhaps")


async def test_a_send_is_told_with_what_it_answers_and_what_people_did(
    pool: Pool, sends: dict[str, int]
) -> None:
    detail = await send_detail(pool, sends["unknown"])
    assert detail is not None
    assert detail.message is not None
    assert detail.message.inbound is not None
    assert detail.message.inbound.text == "Is my table booked?"
    assert detail.acts == ()
    assert await send_detail(pool, 10**9) is None


# However long the history


@CROWD
async def test_several_groups_are_shown_in_part_and_one_is_read_on(crowd: Pool) -> None:
    view = await outbound(crowd, SendSearch())
    sizes = {group: (len(rows), more) for group, rows, more in view.groups}
    assert sizes == {
        "unknown": (20, False),
        "failed": (EACH, True),
        "queued": (EACH, True),
        "sent": (EACH, True),
    }
    for words in ("failed", "sent"):
        search = parse_sends(words)
        (_, rows, more) = (await outbound(crowd, search)).groups[0]
        assert more
        seen = [row.id for row in rows]
        for _ in range(3):
            seen += [row.id for row in await older_sends(crowd, search, seen[-1])]
        assert len(seen) == len(set(seen)) == 4 * PAGE
        assert seen == sorted(seen, reverse=True)


@CROWD
async def test_an_act_on_all_finds_all(crowd: Pool) -> None:
    found_ids = await matching_ids(crowd, parse_sends("failed unknown queued"))
    assert {group: len(ids) for group, ids in found_ids.items()} == {
        "failed": 5075,
        "unknown": 20,
        "queued": 5000,
    }


@CROWD
@pytest.mark.parametrize(
    ("name", "values", "most"),
    [
        ("sends_by_group", [list(DEFAULT), LOOK, EACH + 1, TOP, *NOTHING], LOOK),
        ("sends_by_group", [["sent"], LOOK, EACH + 1, TOP, *NOTHING], 0),
        ("sends_by_group", [["failed"], LOOK, PAGE, TOP, *NOTHING], 2 * PAGE),
        ("sends_by_group", [list(OPEN), LOOK, EACH + 1, TOP, "telegram", 1, 77, "permanent"], LOOK),
        ("sends_settled", [100_000, 80_000, None, None, None, PAGE], 2 * PAGE),
        ("sends_settled", [100_000, 80_000, "nowhere", None, None, PAGE], 20_000),
        ("send_rows", [list(range(1, 251))], 500),
        ("newest_send", [], 1),
    ],
)
def test_no_statement_reads_history_whatever_its_values(
    crowd_dsn: str, name: str, values: list[Any], most: int
) -> None:
    assert_bounded(plans(crowd_dsn, name, values), most)


@CROWD
@pytest.mark.bench
async def test_a_look_takes_no_longer_than_20_ms(crowd: Pool) -> None:
    for search in (SendSearch(), *(SendSearch(groups=(group,)) for group in GROUPS if group != "queued")):
        taken = []
        for _ in range(20):
            begun = time.perf_counter()
            await outbound(crowd, search)
            taken.append(time.perf_counter() - begun)
        assert sorted(taken)[len(taken) // 2] <= 0.020, search
