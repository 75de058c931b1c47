"""Labels, assignment and snooze: each an audited commit, and the customer's next message always gets through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from engine.model import TurnOutcome
from engine.operator.assignment import assign
from engine.operator.audit import BadInput, NotFound, Operator, ReadOnly, Refused
from engine.operator.labels import LENGTH, MOST, change_labels
from engine.operator.snooze import here, read_until, snooze, wake
from engine.operator.takeover import release, take_over
from tests.operator.world import ANNA, GUEST, World

OTTO = Operator("otto", "desk")
BERLIN = ZoneInfo("Europe/Berlin")
SUNDAY = datetime(2026, 3, 15, 13, 30, tzinfo=UTC)  # 14:30 in Berlin


async def a_thread(w: World) -> int:
    return await w.thread_of(await w.insert())


async def test_labels_are_added_and_removed_once_and_audited(w: World) -> None:
    thread = await a_thread(w)
    done = await change_labels(w.pool, ANNA, thread, add=["VIP", "#late", "vip"])
    assert (done.labels, done.added) == (("vip", "late"), ("vip", "late"))
    again = await change_labels(w.pool, OTTO, thread, add=["vip", "refund"], remove=["late", "gone"])
    assert (again.labels, again.added, again.removed) == (("vip", "refund"), ("refund",), ("late",))
    assert (await w.thread(thread))["labels"] == ["vip", "refund"]
    await change_labels(w.pool, ANNA, thread, add=["vip"])
    first, second = await w.audits("label")
    assert (first["actor"], first["subject"]) == ("anna", f"thread:{thread}")
    assert (second["before"], second["after"]) == (
        {"labels": ["vip", "late"]},
        {"labels": ["vip", "refund"]},
    )


@pytest.mark.parametrize("label", ["", "a" * (LENGTH + 1), "[b]", "a:b", "\x1b[31m", "-x", "\u202eevil"])
async def test_what_cannot_be_a_label_is_refused(w: World, label: str) -> None:
    thread = await a_thread(w)
    if label:
        with pytest.raises(BadInput):
            await change_labels(w.pool, ANNA, thread, add=[label])
    else:
        assert (await change_labels(w.pool, ANNA, thread, add=[label])).labels == ()
    assert await w.audits() == []


async def test_a_conversation_has_so_many_labels(w: World) -> None:
    thread = await a_thread(w)
    await change_labels(w.pool, ANNA, thread, add=[f"l{n}" for n in range(MOST)])
    with pytest.raises(BadInput, match="at most"):
        await change_labels(w.pool, ANNA, thread, add=["more"])


async def test_who_may_only_look_changes_nothing(w: World) -> None:
    thread = await a_thread(w)
    until = datetime.now(UTC) + timedelta(hours=1)
    for act in (
        change_labels(w.pool, GUEST, thread, add=["vip"]),
        assign(w.pool, GUEST, thread, "otto"),
        snooze(w.pool, GUEST, thread, until),
        wake(w.pool, GUEST, thread),
    ):
        with pytest.raises(ReadOnly):
            await act
    for act in (change_labels(w.pool, ANNA, 10**9, add=["x"]), assign(w.pool, ANNA, 10**9, "otto")):
        with pytest.raises(NotFound):
            await act
    with pytest.raises(NotFound):
        await here(w.pool, 10**9)


async def test_assignment_leaves_the_ai_answering_and_outlives_its_giving_up(w: World) -> None:
    message = await w.insert()
    thread = await w.thread_of(message)
    done = await assign(w.pool, ANNA, thread, "otto")
    assert (done.previous, done.operator, done.owner) == (None, "otto", "ai")
    await w.complete(
        await w.claim_one(),
        TurnOutcome.TAKEOVER,
        reason="policy.human_requested",
        error="asked",
        hand_over=True,
    )
    row = await w.thread(thread)
    assert (row["owner"], row["operator"]) == ("human", "otto"), "whose it was is who it waits for"
    nobody = await assign(w.pool, ANNA, thread, None)
    assert (nobody.previous, (await w.thread(thread))["operator"]) == ("otto", None)
    assert not (await assign(w.pool, ANNA, thread, None)).changed
    assert [(a["before"], a["after"]) for a in await w.audits("assign")] == [
        ({"operator": None}, {"operator": "otto"}),
        ({"operator": "otto"}, {"operator": None}),
    ]


async def test_a_takeover_assigns_and_a_hand_back_ends_it(w: World) -> None:
    thread = await a_thread(w)
    await assign(w.pool, ANNA, thread, "otto")
    taken = await take_over(w.pool, ANNA, thread)
    assert taken.previous_operator == "otto"
    assert (await w.thread(thread))["operator"] == "anna"
    await assign(w.pool, ANNA, thread, "otto")
    row = await w.thread(thread)
    assert (row["owner"], row["operator"], row["epoch"]) == ("human", "otto", taken.epoch)
    await release(w.pool, OTTO, thread)
    assert (await w.thread(thread))["operator"] is None


async def test_a_snoozed_conversation_is_woken_by_its_customer(w: World) -> None:
    thread = await a_thread(w)
    until = datetime.now(UTC) + timedelta(hours=3)
    done = await snooze(w.pool, ANNA, thread, until)
    row = await w.thread(thread)
    assert (row["snoozed_until"], row["snoozed_by"], done.previous) == (until, "anna", None)
    await w.insert("still there?")
    assert (await w.thread(thread))["snoozed_until"] is None
    (audit,) = await w.audits("snooze")
    assert audit["after"]["snoozed_until"].startswith(until.isoformat()[:19].replace("T", " ")[:10])


async def test_a_snooze_holds_the_hand_back_and_a_takeover_ends_it(w: World) -> None:
    thread = await a_thread(w)
    await take_over(w.pool, ANNA, thread, auto_release_minutes=10)
    until = datetime.now(UTC) + timedelta(hours=12)
    done = await snooze(w.pool, ANNA, thread, until)
    assert done.auto_release_at == until + timedelta(minutes=30)
    assert (await w.thread(thread))["auto_release_at"] == done.auto_release_at
    await take_over(w.pool, OTTO, thread)
    assert (await w.thread(thread))["snoozed_until"] is None
    await take_over(w.pool, ANNA, thread, auto_release_minutes=None)
    assert (await snooze(w.pool, ANNA, thread, until)).auto_release_at is None, "no timer is made"


async def test_what_the_operator_has_not_read_is_not_put_to_sleep(w: World) -> None:
    thread = await a_thread(w)
    seen = (await w.thread(thread))["last_inbound_at"]
    await w.insert("urgent!")
    until = datetime.now(UTC) + timedelta(hours=1)
    with pytest.raises(Refused, match="just written"):
        await snooze(w.pool, ANNA, thread, until, seen=seen)
    assert (await w.thread(thread))["snoozed_until"] is None
    await snooze(w.pool, ANNA, thread, until, seen=(await w.thread(thread))["last_inbound_at"])
    woken = await wake(w.pool, OTTO, thread)
    assert woken.previous == until
    assert (await wake(w.pool, OTTO, thread)).previous is None
    assert [a["act"] for a in await w.audits()] == ["snooze", "wake"]


async def test_a_time_that_is_past_is_refused_by_the_database(w: World) -> None:
    thread = await a_thread(w)
    for until in (datetime.now(UTC) - timedelta(seconds=1), datetime.now(UTC) + timedelta(days=400)):
        with pytest.raises(BadInput):
            await snooze(w.pool, ANNA, thread, until)


async def test_the_time_is_the_workspaces(w: World) -> None:
    thread = await a_thread(w)
    await w.query("UPDATE et_workspaces SET timezone = 'Asia/Tokyo'")
    there = await here(w.pool, thread)
    assert there.timezone == "Asia/Tokyo"
    assert there.until("tomorrow 9:00").astimezone(ZoneInfo("Asia/Tokyo")).hour == 9
    await w.query("UPDATE et_workspaces SET timezone = 'Mars/Olympus'")
    assert (await here(w.pool, thread)).timezone == "UTC"


@pytest.mark.parametrize(
    ("words", "local"),
    [
        ("1h", "2026-03-15 15:30"),
        ("90m", "2026-03-15 16:00"),
        ("2d", "2026-03-17 14:30"),
        ("18:00", "2026-03-15 18:00"),
        ("9:00", "2026-03-16 09:00"),
        ("tomorrow", "2026-03-16 09:00"),
        ("Tomorrow 14:05", "2026-03-16 14:05"),
        ("sun", "2026-03-22 09:00"),
        ("sun 15:00", "2026-03-15 15:00"),
        ("Friday 8:00", "2026-03-20 08:00"),
        ("2026-03-30", "2026-03-30 09:00"),
        ("2026-03-30T07:15", "2026-03-30 07:15"),
    ],
)
def test_times_are_read_as_people_type_them(words: str, local: str) -> None:
    """The last ones lie in summer time, which begins on the 29th."""
    at = read_until(words, SUNDAY, BERLIN)
    assert f"{at.astimezone(BERLIN):%Y-%m-%d %H:%M}" == local


@pytest.mark.parametrize(
    "words", ["", "soon", "25:00", "2026-02-30", "2020-01-01", "999w", "today 9:00", "0h", "friend"]
)
def test_what_is_no_time_to_come_is_refused_with_examples(words: str) -> None:
    with pytest.raises(BadInput, match="tomorrow"):
        read_until(words, SUNDAY, BERLIN)
