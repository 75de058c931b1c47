"""The Inbox among several operators: labels, assignment, snooze, the next one; judged by the database."""

from __future__ import annotations

from datetime import timedelta

import pytest

from console.screens.ask import Ask
from console.screens.inbox import InboxScreen
from tests.console.desk import assert_clean, database_now, me
from tests.console.stage import Stage
from tests.console.test_inbox import choose, inbox
from tests.support.conversations import ME, plant_inbox
from tests.support.rows import Connection, get

__all__ = ["me"]


@pytest.fixture
def threads(rows: Connection) -> dict[str, int]:
    return plant_inbox(rows, database_now(rows))


def acts(rows: Connection) -> list[tuple[str, str]]:
    """Who did what, in order."""
    found = rows.execute("SELECT actor, act FROM et_audit_log ORDER BY id").fetchall()
    return [(row["actor"], row["act"]) for row in found]


async def asked(seen: Stage, key: str) -> Ask:
    """The dialog that a key opens."""
    await seen.press(key)
    await seen.until(lambda: isinstance(seen.app.screen, Ask), f"the dialog of {key}")
    dialog = seen.app.screen
    assert isinstance(dialog, Ask)
    return dialog


async def answered(seen: Stage, key: str, text: str) -> None:
    """Type `text` in place of what stands in the dialog of `key`, and take it."""
    await asked(seen, key)
    await seen.press("ctrl+u")
    await seen.write(text)
    await seen.press("enter")
    await seen.until(lambda: not isinstance(seen.app.screen, Ask), f"{text!r} is taken")


async def test_labels_are_typed_completed_shown_and_found(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    rows.execute("UPDATE et_threads SET labels = '[\"wholesale\"]' WHERE id = %s", [threads["frida"]])
    async with inbox(dsn) as seen:
        await choose(seen, "Anna Berger")
        await asked(seen, "l")
        await seen.sees("Tab completes: wholesale")
        await seen.write("vip who")
        await seen.press("tab")
        await seen.sees("✓ +vip +wholesale")
        await seen.press("enter")
        await seen.until(lambda: get(rows, "et_threads", threads["anna"])["labels"], "stored")
        assert get(rows, "et_threads", threads["anna"])["labels"] == ["vip", "wholesale"]
        await seen.sees("#vip #wholesale")
        await seen.press("slash")
        await seen.write("label:wholesale")
        await seen.press("enter")
        await seen.until(lambda: "Ben Okafor" not in seen.text, "only those with it")
        await seen.sees("Anna Berger", "Frida Sand")
        await choose(seen, "Anna Berger")
        await asked(seen, "l")
        await seen.press("ctrl+u")
        await seen.write("vip bad!")
        await seen.press("enter")
        await seen.sees("cannot be a label")
        await seen.press(*["backspace"] * 5, "enter")
        await seen.until(lambda: get(rows, "et_threads", threads["anna"])["labels"] == ["vip"], "removed")
    assert acts(rows) == [(ME, "label"), (ME, "label")]


async def test_a_conversation_is_assigned_to_me_to_otto_and_to_nobody(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    def whose() -> tuple[str, str | None]:
        row = get(rows, "et_threads", threads["frida"])
        return row["owner"], row["operator"]

    async with inbox(dsn) as seen:
        await choose(seen, "Frida Sand")
        await seen.press("m")
        await seen.hears("Frida Sand is yours. The AI goes on answering")
        assert whose() == ("ai", ME)
        await seen.sees("AI → you", "The AI answers · yours")
        await seen.press("m")
        await seen.hears("It is yours already")
        await asked(seen, "A")
        await seen.press("ctrl+u")
        await seen.write("ot")
        await seen.press("tab", "enter")
        await seen.hears("it was lena's")
        assert whose() == ("ai", "otto")
        await seen.sees("AI → otto")
        await seen.press("slash")
        await seen.write("assigned:otto")
        await seen.press("enter")
        await seen.until(lambda: "Ben Okafor" not in seen.text, "only otto's")
        await seen.sees("Frida Sand", "Carla Diaz")
        await choose(seen, "Frida Sand")
        await answered(seen, "A", "")
        await seen.hears("is nobody's")
        assert whose() == ("ai", None)
        await seen.press("up")
        await choose(seen, "Carla Diaz")
        await seen.press("m")
        await seen.until(lambda: get(rows, "et_threads", threads["carla"])["operator"] == ME)
        assert get(rows, "et_threads", threads["carla"])["owner"] == "human"
    assert acts(rows) == [(ME, "assign")] * 4


async def test_a_snoozed_conversation_leaves_the_waiting_ones_and_the_next_is_chosen(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    async with inbox(dsn) as seen:
        screen = await choose(seen, "Ben Okafor")
        await seen.sees("4 wait")
        await asked(seen, "s")
        await seen.press("ctrl+u")
        await seen.write("yesterday")
        await seen.press("enter")
        await seen.sees("“yesterday” is not a time")
        await seen.press("ctrl+u")
        await seen.write("2h")
        await seen.sees("✓ until")
        await seen.press("enter")
        await seen.hears("or when the customer writes")
        row = get(rows, "et_threads", threads["ben"])
        assert row["snoozed_by"] == ME
        left = row["snoozed_until"] - database_now(rows)
        assert timedelta(minutes=119) < left <= timedelta(hours=2)
        await seen.sees("3 wait", "z 120m")
        await seen.sees("2 Inbox¹")
        await seen.until(lambda: screen.thread is not None and screen.thread.who == "Anna Berger", "the next")
        await seen.press("slash")
        await seen.write("snoozed")
        await seen.press("enter")
        await seen.until(lambda: "Anna Berger" not in seen.text, "only what sleeps")
        await choose(seen, "Ben Okafor")
        await seen.sees("z asleep until")
        await seen.press("S")
        await seen.hears("back among those who wait")
        assert get(rows, "et_threads", threads["ben"])["snoozed_until"] is None
    assert acts(rows) == [(ME, "snooze"), (ME, "wake")]


async def test_a_snoozed_customer_who_writes_is_back_on_the_screen(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    async with inbox(dsn) as seen:
        await choose(seen, "Ben Okafor")
        await answered(seen, "s", "tomorrow")
        await seen.sees("3 wait")
        rows.execute(
            """INSERT INTO et_messages (tenant_id, thread_id, channel, direction, text_content, delivery_status)
               SELECT 1, id, channel, 'inbound', 'it is urgent now', 'received' FROM et_threads WHERE id = %s""",
            [threads["ben"]],
        )
        await seen.sees("4 wait", "it is urgent now")
        assert get(rows, "et_threads", threads["ben"])["snoozed_until"] is None


async def test_the_next_one_who_waits_is_a_key_away(dsn: str, threads: dict[str, int]) -> None:
    async with inbox(dsn) as seen:
        screen = await choose(seen, "Frida Sand")
        order = []
        for _ in range(5):
            before = screen.chosen
            await seen.press("w")
            await seen.until(lambda was=before: screen.chosen != was, "another one")
            order.append(screen.chosen)
        names = ("ben", "anna", "dora", "emil", "ben")
        assert order == [threads[name] for name in names], "longest waiting first, and round again"


async def test_hostile_labels_and_names_of_others_do_not_drive_the_terminal(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    rows.execute(
        "UPDATE et_threads SET labels = '[\"[b]x\\u001b[31m\"]', operator = E'ev\\x1b[2Jil' WHERE id = %s",
        [threads["ben"]],
    )
    for size in ((140, 40), (80, 24)):
        async with inbox(dsn, size) as seen:
            await choose(seen, "Ben Okafor")
            await asked(seen, "A")
            assert_clean(seen)
            await seen.press("escape")
            await asked(seen, "l")
            assert_clean(seen)
            await seen.press("escape")
            assert_clean(seen)


async def test_a_read_only_console_sorts_nothing(dsn: str, rows: Connection, threads: dict[str, int]) -> None:
    async with inbox(dsn, read_only=True) as seen:
        screen = await choose(seen, "Frida Sand")
        for key in ("s", "S", "l", "m", "A"):
            await seen.press(key)
        await seen.hears("This console is read-only.")
        assert isinstance(seen.app.screen, InboxScreen)
        assert seen.app.screen is screen
    assert acts(rows) == []
