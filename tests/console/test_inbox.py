"""The Inbox: who waits, what was said, and what a person does about it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.widgets._toast import Toast

from console.jumping import open_thread
from console.screens.canned import CannedPicker
from console.screens.confirm import Confirm
from console.screens.hand_back import HandBack
from console.screens.inbox import InboxScreen
from console.screens.inbox_rows import ThreadList
from console.screens.note import NoteDialog
from console.widgets.composer import Composer
from console.widgets.transcript import Transcript
from engine.channels.whatsapp_cloud import WhatsAppCloudChannel
from engine.database.connection import open_pool
from engine.model import InboundStatus, OutboundStatus
from engine.observe.threads import WINDOWED
from engine.operator.audit import Operator
from engine.operator.takeover import take_over
from tests.console.desk import PICTURES, Still, after, assert_clean, bytes_written, me, now, still
from tests.console.stage import Stage, stage
from tests.support.consoles import make_app
from tests.support.conversations import HOSTILE, ME, Planted, plant_inbox
from tests.support.rows import Connection, connect, get

__all__ = ["me", "now", "still"]


@pytest.fixture
def threads(rows: Connection, now: datetime) -> dict[str, int]:
    return plant_inbox(rows, now)


@asynccontextmanager
async def inbox(dsn: str, size: tuple[int, int] = (140, 40), **options: Any) -> AsyncIterator[Stage]:
    """The inbox, read."""
    async with stage(dsn, size, **options) as seen:
        await seen.press("2")
        await seen.sees("Ben Okafor")
        yield seen


async def choose(seen: Stage, name: str) -> InboxScreen:
    """Put the cursor on somebody, and wait for what was said."""
    screen = seen.app.screen
    assert isinstance(screen, InboxScreen)
    for _ in range(20):
        if screen.thread is not None and screen.thread.who == name:
            break
        await seen.press("j")
    if not screen.has_class("-narrow"):
        await seen.until(lambda: screen.talk is not None, f"the talk with {name}")
    return screen


def queued(rows: Connection, thread: int) -> list[dict[str, Any]]:
    """What a person wrote in a thread, with its queue row."""
    return rows.execute(
        """SELECT m.text_content, m.author, q.status, q.id FROM et_messages m
             JOIN et_outbound_queue q ON q.message_id = m.id
            WHERE m.thread_id = %s AND m.author = 'human' AND q.status = 'queued' ORDER BY m.id""",
        [thread],
    ).fetchall()


# Seeing


@pytest.mark.usefixtures("threads")
async def test_who_waits_longest_for_a_person_is_first(dsn: str) -> None:
    async with inbox(dsn) as seen:
        await seen.sees("Frida Sand")
        names = ["Ben Okafor", "Anna Berger", "Dora Lind", "Emil Novak", "Carla Diaz", "Frida Sand"]
        places = [seen.text.index(f" {name}") for name in names]
        assert places == sorted(places), seen.text
        await seen.sees(
            "◆ nobody yet 41m", "◆ you 34m ↺ 18m ◷ 23h", "◆ otto 50m ↺ 10m", "4 wait", "✗ Dora Lind"
        )


@pytest.mark.usefixtures("threads")
async def test_a_conversation_shows_both_sides_notes_and_how_far_a_message_came(dsn: str) -> None:
    async with inbox(dsn) as seen:
        await choose(seen, "Anna Berger")
        await seen.sees(
            "You answer · 34m", "back to the AI in ↺ 18m", "window ◷ 23h", "whatsapp_cloud · thread"
        )
        await seen.sees(
            "two boxes", "AI · gpt-4.1-mini", "✓✓ read", "✓✓ delivered", "✎ note otto", "box 2 left"
        )
        said = [line for line in seen.text.splitlines() if "for a person" in line]
        assert len(said) == 2, "only what came after the last answer waits"


async def test_a_new_message_appears_by_itself(dsn: str, rows: Connection, threads: dict[str, int]) -> None:
    async with inbox(dsn) as seen:
        await choose(seen, "Anna Berger")
        rows.execute(
            """INSERT INTO et_messages (tenant_id, thread_id, channel, direction, text_content, delivery_status)
               VALUES (1, %s, 'whatsapp_cloud', 'inbound', 'still here?', 'received')""",
            [threads["anna"]],
        )
        await seen.until(lambda: seen.text.count("still here?") == 2, "in the list and in the talk")


async def test_older_words_are_read_when_they_are_wanted(dsn: str, rows: Connection, now: datetime) -> None:
    planted = Planted(rows, now)
    thread = planted.thread("Ben Okafor", "ben", 1, owner="human", owner_since=planted.ago(500))
    for number in range(150):
        planted.said(thread, f"word {number}", 400 - 2 * number, InboundStatus.HUMAN_TAKEOVER)
    async with inbox(dsn) as seen:
        screen = await choose(seen, "Ben Okafor")
        await seen.sees("word 149")
        await seen.press("enter", "g")
        await seen.until(lambda: screen._begins, "the beginning")
        await seen.press("g")
        await seen.sees("word 0", "the conversation begins")
        keys = [e.key for e in seen.app.screen.query_one(Transcript).entries if e.target]
        assert keys == sorted(keys), "in order, none twice"
        assert len(keys) == 150


@pytest.mark.usefixtures("threads")
async def test_the_filter_narrows_the_list_and_says_what_it_knows(dsn: str) -> None:
    async with inbox(dsn) as seen:
        await seen.press("slash")
        await seen.write("mine")
        await seen.press("enter")
        await seen.until(lambda: "Frida Sand" not in seen.text, "only mine")
        await seen.sees("Anna Berger", "/ mine")
        await seen.press("slash")
        await seen.write(" colour:red")
        await seen.press("enter")
        await seen.sees("“colour:” is not known")
        await seen.press("q")
        await seen.sees("Frida Sand")
        await seen.press("slash")
        await seen.write("frida")
        await seen.press("enter")
        await seen.until(
            lambda: "Ben Okafor  " not in seen.text.split("│")[0] and "Frida" in seen.text, "by name"
        )


async def test_the_chosen_conversation_stays_when_it_no_longer_matches(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    async with inbox(dsn) as seen:
        await seen.press("slash")
        await seen.write("waiting")
        await seen.press("enter")
        await seen.until(lambda: "Carla" not in seen.text, "only those who wait")
        screen = await choose(seen, "Anna Berger")
        rows.execute("UPDATE et_threads SET last_message_at = now() WHERE id = %s", [threads["anna"]])
        screen.poll()
        await seen.until(lambda: screen.thread is not None and not screen.thread.waiting, "she waits no more")
        assert screen.thread is not None
        assert screen.thread.id == threads["anna"]
        await seen.sees("Anna Berger")


async def test_a_conversation_that_is_jumped_to_stays_chosen(dsn: str, threads: dict[str, int]) -> None:
    async with stage(dsn) as seen:
        await open_thread(seen.app, threads["frida"])
        await seen.sees("Ben Okafor", "Yes, from 10 to 18 o'clock.")
        await seen.pilot.pause(1.5)
        screen = seen.app.screen
        assert isinstance(screen, InboxScreen)
        assert screen.chosen == threads["frida"]
        assert "▌✓ Frida Sand" in seen.text


@pytest.mark.usefixtures("threads")
async def test_a_small_terminal_shows_the_list_or_the_conversation(dsn: str) -> None:
    async with inbox(dsn, (80, 24)) as seen:
        await seen.sees("Carla Diaz")
        assert "A human please" in seen.text
        assert "thread 2" not in seen.text
        await seen.press("enter")
        await seen.sees("Waits for a person", "the conversation begins")
        assert "Carla Diaz" not in seen.text
        await seen.press("escape", "q")
        await seen.sees("Carla Diaz")


@pytest.mark.usefixtures("threads")
async def test_hostile_names_and_words_never_reach_the_terminal(dsn: str) -> None:
    for size in ((140, 40), (80, 24)):
        async with inbox(dsn, size) as seen:
            await seen.sees("[b]bold[/b]")
            await choose(seen, HOSTILE)
            await seen.press("enter")
            await seen.sees("␛[31mred␛]0;owned␇ [b]bold[/b] [@click=", "⇄")
            assert_clean(seen)
            await seen.press("t")
            await seen.hears("Back to the AI")
            await seen.press("escape", "T")
            await seen.until(lambda: isinstance(seen.app.screen, HandBack))
            assert_clean(seen)
            await seen.press("y")
            await seen.hears("from the next message on")


@pytest.mark.usefixtures("threads")
async def test_nothing_is_sent_to_the_terminal_while_nothing_changes(dsn: str, now: datetime) -> None:
    async with inbox(dsn, clock=Still(now)) as seen:
        await choose(seen, "Anna Berger")
        await seen.pilot.pause(1.5)
        assert await bytes_written(seen, 3) == 0


# Taking over and answering


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
async def test_the_footer_says_what_the_keys_do_where_the_focus_is(
    dsn: str, rows: Connection, threads: dict[str, int], size: tuple[int, int]
) -> None:
    def footer(seen: Stage) -> str:
        return seen.text.splitlines()[-1]

    async with inbox(dsn, size) as seen:
        await choose(seen, "Ben Okafor")
        await seen.press("enter")
        await seen.sees("Waits for a person")
        composer = seen.app.screen.query_one(Composer)
        assert not composer.has_focus, "Enter reads; what is typed then is no text yet"
        assert " t Take over " in footer(seen)
        assert "? Help" in footer(seen), "however little room there is"
        await seen.press("t")
        await seen.until(lambda: get(rows, "et_threads", threads["ben"])["operator"] == ME, "taken over")
        await seen.until(lambda: composer.has_focus, "the composer")
        await seen.until(lambda: "esc Leave" in footer(seen), "the way out")
        assert "Take over" not in footer(seen)
        assert "Help" not in footer(seen), "a question mark is text here"
        assert "ctrl+s Send" in footer(seen)
        assert "+ Keep" not in footer(seen)
        assert "/ Filter" not in footer(seen)
        await seen.hears("Back to the AI")
        toast = next(iter(seen.app.screen.query(Toast)))
        assert not toast.region.overlaps(composer.region), "what one writes is seen"
        await seen.press("t")
        assert composer.text == "t"
        await seen.press("escape")
        await seen.until(lambda: "? Help" in footer(seen), "letters act again")


async def test_take_over_write_and_send(dsn: str, rows: Connection, threads: dict[str, int]) -> None:
    async with inbox(dsn) as seen:
        await choose(seen, "Frida Sand")
        await seen.sees("The AI answers this conversation; t takes it over.")
        await seen.press("t")
        await seen.hears("Back to the AI at")
        await seen.until(lambda: isinstance(seen.app.focused, Composer), "the composer")
        await seen.write("Hello, Lena here")
        assert queued(rows, threads["frida"]) == []
        await seen.press("ctrl+s")
        await seen.sees("○ queued", "◆ You answer")
    thread = get(rows, "et_threads", threads["frida"])
    assert (thread["owner"], thread["operator"]) == ("human", ME)
    (sent,) = queued(rows, threads["frida"])
    assert sent["text_content"] == "Hello, Lena here"


async def test_a_takeover_tells_what_leaves_all_the_same(dsn: str, rows: Connection, now: datetime) -> None:
    planted = Planted(rows, now)
    thread = planted.thread("Ben Okafor", "ben", 1, inbound=2)
    planted.said(thread, "hello?", 2, InboundStatus.RECEIVED)
    planted.answered(thread, "leaving", 1, OutboundStatus.PROCESSING, outcome=None)
    planted.answered(thread, "waiting", 1, OutboundStatus.QUEUED, outcome=None)
    rows.execute("UPDATE et_outbound_queue SET send_started_at = now() WHERE status = 'processing'")
    async with inbox(dsn) as seen:
        await choose(seen, "Ben Okafor")
        await seen.press("t")
        await seen.hears("1 of the AI already leaving, which cannot be held back")
        await seen.hears("1 unsent of the AI cancelled; 1 of the customer wait for you")


async def test_line_ends_typed_or_pasted_send_nothing(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    async with inbox(dsn) as seen:
        await choose(seen, "Anna Berger")
        await seen.press("r")
        await seen.write("one\n")
        composer = seen.app.screen.query_one(Composer)
        composer.post_message(events.Paste("two\r\nthree\x1b[31m\u202e\n"))
        await seen.until(lambda: "three" in composer.text, "the pasted text")
        assert composer.text == "one\ntwo\nthree␛[31m\n"
        await seen.press("enter")
        assert queued(rows, threads["anna"]) == []
        await seen.press("ctrl+s")
        await seen.sees("○ queued")
    assert len(queued(rows, threads["anna"])) == 1


async def test_the_send_key_twice_sends_once(dsn: str, rows: Connection, threads: dict[str, int]) -> None:
    async with inbox(dsn) as seen:
        await choose(seen, "Anna Berger")
        await seen.press("r")
        await seen.write("once")
        await seen.press("ctrl+s", "ctrl+s", "ctrl+s")
        await seen.sees("○ queued")
        await seen.pilot.pause(0.5)
    assert len(queued(rows, threads["anna"])) == 1


async def test_what_is_refused_stands_in_the_composer_again(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    async with inbox(dsn) as seen:
        screen = await choose(seen, "Anna Berger")
        await seen.press("p", "r")
        await seen.write("too late")
        rows.execute(
            "UPDATE et_threads SET owner = 'ai', operator = NULL, epoch = 9 WHERE id = %s", [threads["anna"]]
        )
        await seen.press("ctrl+s")
        await seen.hears("Take it over first.")
        assert screen.query_one(Composer).text == "too late"
    assert queued(rows, threads["anna"]) == []


async def test_what_is_written_stays_with_its_conversation(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    async with inbox(dsn) as seen:
        screen = await choose(seen, "Ben Okafor")
        await seen.press("r")
        await seen.write("for Ben")
        await seen.press("escape", "q")
        await choose(seen, "Anna Berger")
        composer = screen.query_one(Composer)
        assert composer.text == ""
        await seen.sees("✎ you are writing")
        await seen.press("r")
        await seen.write("for Anna")
        await seen.press("3")
        assert composer.text == "for Anna3", "a digit is text while one writes"
        await seen.press("backspace", "ctrl+s")
        await seen.sees("○ queued")
        await seen.press("escape", "q", "g")
        await choose(seen, "Ben Okafor")
        assert composer.text == "for Ben"
    assert [row["text_content"] for row in queued(rows, threads["anna"])] == ["for Anna"]
    assert queued(rows, threads["ben"]) == []


async def test_a_colleague_is_not_pushed_aside_by_one_key(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    async with inbox(dsn) as seen:
        screen = await choose(seen, "Carla Diaz")
        await seen.press("t")
        await seen.until(lambda: isinstance(seen.app.screen, Confirm))
        await seen.sees("Take it from otto?")
        await seen.press("enter")
        await seen.until(lambda: seen.app.screen is screen)
        assert get(rows, "et_threads", threads["carla"])["operator"] == "otto"
        await seen.press("t")
        await seen.until(lambda: isinstance(seen.app.screen, Confirm))
        await seen.press("y")
        await seen.until(lambda: get(rows, "et_threads", threads["carla"])["operator"] == ME)
        await seen.until(lambda: isinstance(seen.app.focused, Composer), "the composer has the keys")
        await seen.press("escape", "t")
        await seen.hears("You answer it already")


async def test_who_was_quicker_is_named_whatever_the_screen_shows(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    async with inbox(dsn) as seen:
        await choose(seen, "Frida Sand")
        async with open_pool(dsn, size=1) as pool:
            # What is seen and pressed at once: the screen still says that the AI answers.
            await take_over(pool, Operator("otto", "desk"), threads["frida"])
        await seen.press("t")
        await seen.sees("Take it from otto?")
        assert get(rows, "et_threads", threads["frida"])["operator"] == "otto"
        await seen.press("n")
        assert get(rows, "et_threads", threads["frida"])["operator"] == "otto"
        await seen.press("t")
        await seen.sees("Take it from otto?")
        await seen.press("y")
        await seen.until(lambda: get(rows, "et_threads", threads["frida"])["operator"] == ME)


async def test_a_closed_window_is_said_before_writing(dsn: str, rows: Connection, now: datetime) -> None:
    planted = Planted(rows, now)
    late = {"owner": "human", "operator": ME, "owner_since": planted.ago(60), "channel": "whatsapp_cloud"}
    planted.thread("Ben Okafor", "+49", 1500, **late)
    async with inbox(dsn) as seen:
        screen = await choose(seen, "Ben Okafor")
        await seen.sees("◷ window closed", "◷ closed", "The channel's 24 h window is closed")
        assert screen.query_one(Composer).disabled
        await seen.press("r")
        await seen.hears("The channel's 24 h window is closed")


def test_the_windowed_channels_are_those_that_say_so() -> None:
    assert frozenset({WhatsAppCloudChannel.name}) == WINDOWED


# Drafts, canned replies, notes


async def test_a_suggestion_is_accepted_changed_and_sent(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    async with inbox(dsn) as seen:
        await choose(seen, "Emil Novak")
        await seen.sees(
            "AI draft, not sent · it only suggests", "Yes, the soup of the day is vegan.", "a accepts"
        )
        await seen.press("a")
        composer = await seen.until(lambda: isinstance(seen.app.focused, Composer) and seen.app.focused)
        assert composer.text == "Yes, the soup of the day is vegan."
        assert queued(rows, threads["emil"]) == []
        await seen.write(" Enjoy!")
        await seen.press("ctrl+s")
        await seen.sees("○ queued", "t takes it over")
    (sent,) = queued(rows, threads["emil"])
    assert sent["text_content"] == "Yes, the soup of the day is vegan. Enjoy!"
    assert get(rows, "et_turns", threads["draft"])["reply_message_id"] is not None
    assert get(rows, "et_threads", threads["emil"])["owner"] == "ai"


@pytest.mark.usefixtures("threads")
async def test_an_emptied_draft_is_offered_again(dsn: str) -> None:
    async with inbox(dsn) as seen:
        await choose(seen, "Emil Novak")
        await seen.press("a")
        composer = await seen.until(lambda: isinstance(seen.app.focused, Composer) and seen.app.focused)
        composer.put("")
        await seen.sees("AI draft, not sent")
        assert composer.disabled, "without its draft, the AI's conversation is not written in"


async def test_a_canned_reply_goes_into_the_composer(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    for shortcut, text in (("hello", "Hello, how can I help?"), ("late", "It is late.\x1b[2J")):
        rows.execute(
            "INSERT INTO et_canned_replies (tenant_id, shortcut, text_content) VALUES (1, %s, %s)",
            [shortcut, text],
        )
    async with inbox(dsn) as seen:
        await choose(seen, "Anna Berger")
        await seen.press("r")
        await seen.write("Well: ")
        await seen.press("ctrl+r")
        await seen.until(lambda: isinstance(seen.app.screen, CannedPicker))
        await seen.sees("/hello", "/late")
        assert_clean(seen)
        await seen.write("la")
        await seen.until(lambda: "/hello" not in seen.text)
        await seen.press("enter")
        composer = await seen.until(lambda: isinstance(seen.app.focused, Composer) and seen.app.focused)
        await seen.until(lambda: "late" in composer.text)
        assert composer.text == "Well: It is late.␛[2J"
    assert queued(rows, threads["anna"]) == []


async def test_a_note_is_kept_and_shown_and_a_closed_one_is_not_lost(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    async with inbox(dsn) as seen:
        screen = await choose(seen, "Ben Okafor")
        await seen.press("n")
        await seen.until(lambda: isinstance(seen.app.screen, NoteDialog))
        await seen.write("calls back\nat six")
        await seen.press("escape")
        await seen.until(lambda: seen.app.screen is screen)
        assert rows.execute("SELECT FROM et_notes WHERE thread_id = %s", [threads["ben"]]).fetchall() == []
        await seen.press("n")
        await seen.sees("calls back")
        await seen.press("ctrl+s")
        await seen.sees("✎ note lena", "at six")
    row = rows.execute(
        "SELECT author, text_content FROM et_notes WHERE thread_id = %s", [threads["ben"]]
    ).fetchone()
    assert row == {"author": ME, "text_content": "calls back\nat six"}


# Handing back, and the timer


async def test_handing_back_asks_and_defaults_to_keeping(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    async with inbox(dsn) as seen:
        screen = await choose(seen, "Anna Berger")
        await seen.press("T")
        await seen.until(lambda: isinstance(seen.app.screen, HandBack))
        await seen.sees("2 messages wait for an answer")
        await seen.press("enter")
        await seen.until(lambda: seen.app.screen is screen)
        assert get(rows, "et_threads", threads["anna"])["owner"] == "human"
        await seen.press("T")
        await seen.until(lambda: isinstance(seen.app.screen, HandBack))
        await seen.press("a")
        await seen.hears("The AI answers 2 that waited")
        await seen.sees("○ waiting")
    assert get(rows, "et_threads", threads["anna"])["owner"] == "ai"
    again = rows.execute(
        "SELECT count(*) AS n FROM et_messages WHERE thread_id = %s AND delivery_status = 'received'",
        [threads["anna"]],
    ).fetchone()
    assert again == {"n": 2}


async def test_the_timer_is_put_off_or_called_off(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    def release_at() -> datetime | None:
        found: datetime | None = get(rows, "et_threads", threads["anna"])["auto_release_at"]
        return found

    before = release_at()
    async with inbox(dsn) as seen:
        await choose(seen, "Anna Berger")
        await seen.press("plus")
        await seen.hears("It goes back to the AI at")
        after_plus = release_at()
        assert before is not None
        assert after_plus is not None
        assert after_plus > before + timedelta(minutes=5)
        await seen.sees("↺ 30m")
        await seen.press("H")
        await seen.sees("stays with people until handed back")
    assert release_at() is None


async def test_the_last_minute_before_a_hand_back_is_counted_in_seconds(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    async with inbox(dsn) as seen:
        await choose(seen, "Anna Berger")
        rows.execute(
            "UPDATE et_threads SET auto_release_at = now() + interval '50 seconds' WHERE id = %s",
            [threads["anna"]],
        )

        def left() -> int:
            found = re.search(r"back to the AI in ↺ (\d+)s", seen.text)
            return int(found[1]) if found else 0

        await seen.until(lambda: left() > 40, "no seconds are counted")
        first = left()
        await seen.until(lambda: 0 < left() <= first - 3, "the seconds stand still")
        await seen.press("plus")
        await seen.sees("↺ 30m")


# Refusals


async def test_a_read_only_console_changes_nothing_and_says_why(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    async with inbox(dsn, read_only=True) as seen:
        await choose(seen, "Frida Sand")
        for key in ("t", "T", "n", "r", "a", "plus", "ctrl+s"):
            await seen.press(key)
        await seen.hears("This console is read-only.")
        assert seen.app.screen.query_one(Composer).disabled
    assert get(rows, "et_threads", threads["frida"])["owner"] == "ai"
    assert rows.execute("SELECT FROM et_audit_log").fetchall() == []


# Pictures


@pytest.mark.usefixtures("still")
@PICTURES
def test_picture_of_the_list_and_a_conversation(
    dsn: str,
    tmp_path: Path,
    size: tuple[int, int],
    colours: bool,
    snap_compare: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not colours:
        monkeypatch.setenv("NO_COLOR", "1")
    with connect(dsn) as connection:
        plant_inbox(connection)
    keys = ("2", "j", "enter") if size[0] < 100 else ("2", "j")
    app = make_app(dsn, tmp_path, frozen=True)
    assert snap_compare(app, terminal_size=size, run_before=after(*keys, until="box 2 left on Monday"))


@pytest.mark.usefixtures("still")
def test_picture_of_the_list_at_80x24(dsn: str, tmp_path: Path, snap_compare: Any) -> None:
    with connect(dsn) as connection:
        plant_inbox(connection)
    app = make_app(dsn, tmp_path, frozen=True)
    assert snap_compare(app, terminal_size=(80, 24), run_before=after("2", until="Frida Sand"))


async def test_the_ai_is_paused_in_one_conversation_and_resumed_by_the_same_key(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    async with inbox(dsn) as seen:
        await choose(seen, "Frida Sand")
        await seen.press("K")
        await seen.sees("‖ AI paused", "‖ The AI is paused here", "‖ AI PAUSED")
        thread = get(rows, "et_threads", threads["frida"])
        assert thread["paused_at"] is not None
        assert thread["owner"] == "ai", "nobody has taken it over"
        await seen.press("3")
        await seen.sees("‖ AI PAUSED")
        await seen.press("2", "K")
        await seen.until(lambda: "paused" not in seen.text.lower(), "the marks go")
    assert get(rows, "et_threads", threads["frida"])["paused_at"] is None


async def test_what_happens_behind_a_dialog_is_there_when_it_closes(
    dsn: str, rows: Connection, threads: dict[str, int]
) -> None:
    async with inbox(dsn) as seen:
        await choose(seen, "Anna Berger")
        listed = seen.app.screen.query_one(ThreadList)
        await seen.press("n")
        await seen.until(lambda: isinstance(seen.app.screen, NoteDialog), "the dialog")
        rows.execute(
            "INSERT INTO et_messages (tenant_id, thread_id, channel, direction, text_content, delivery_status)"
            " SELECT tenant_id, id, channel, 'inbound', 'written meanwhile', 'received' FROM et_threads WHERE id = %s",
            [threads["frida"]],
        )
        await seen.until(
            lambda: any(item.row.last_text == "written meanwhile" for item in listed.rows), "live under it"
        )
