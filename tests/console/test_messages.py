"""The Messages area: what it shows, and what its acts do to the database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from console.jumping import open_queue
from console.screens.messages import MessagesScreen
from console.widgets.message_list import MessageList
from tests.support.consoles import screen_text, shows, until
from tests.support.long_past import fill_history
from tests.support.seed import Seed


async def go(pilot: Any, words: str = "") -> MessageList:
    """Open the area, with a filter."""
    await pilot.press("3")
    await until(pilot, lambda: isinstance(pilot.app.screen, MessagesScreen), "the area did not open")
    listed: MessageList = pilot.app.screen.query_one(MessageList)
    await until(pilot, lambda: listed.rows, "the list stayed empty")
    if words:
        await pilot.press("slash", *words, "enter")
        await until(
            pilot, lambda: pilot.app.screen._search and pilot.app.screen._seen is not None, "no filter"
        )
    return listed


def status(rows: Any, message_id: int) -> str:
    found = rows.execute("SELECT delivery_status FROM et_messages WHERE id = %s", [message_id]).fetchone()
    return str(found["delivery_status"])


async def test_the_newest_message_is_at_the_bottom_and_the_list_follows(
    console: Any, seed: Seed, rows: Any
) -> None:
    async with console() as pilot:
        listed = await go(pilot)
        assert [row.id for row in listed.rows] == sorted(seed.messages.values())
        assert listed.row.id == max(seed.messages.values())
        rows.execute(
            "INSERT INTO et_messages (tenant_id, channel, direction, text_content, raw_payload, delivery_status)"
            " VALUES (1, 'telegram', 'inbound', 'and one more', '{\"from\": \"+449\"}', 'received')"
        )
        await shows(pilot, "and one more")
        assert listed.row.text == "and one more"


async def test_what_changes_is_shown_in_place_and_the_rest_is_not_drawn_again(
    console: Any, seed: Seed, rows: Any
) -> None:
    async with console() as pilot:
        listed = await go(pilot)
        await pilot.press("k", "k")
        drawn: list[int] = []
        draw = listed.draw
        listed.draw = lambda row, width: drawn.append(row.id) or draw(row, width)  # type: ignore[method-assign]
        rows.execute(
            "UPDATE et_messages SET delivery_status = 'inbound_human_takeover', reason = 'x' WHERE id = %s",
            [seed.messages["waiting"]],
        )
        await until(pilot, lambda: listed.rows[-1].status == "inbound_human_takeover", "it was not renewed")
        await pilot.pause()
        assert set(drawn) == {seed.messages["waiting"]}


async def test_going_up_reads_older_pages_and_coming_back_follows_again(console: Any, rows: Any) -> None:
    fill_history(rows, 900, threads=10)
    async with console() as pilot:
        listed = await go(pilot)
        first = len(listed.rows)
        while not listed.at_oldest:
            await pilot.press("g")
            await pilot.pause(0.05)
        await until(pilot, lambda: len(listed.rows) > 900, "not all was read")
        assert first < 300
        keys = [row.id for row in listed.rows]
        assert keys == sorted(set(keys))
        await pilot.press("G")
        assert listed.follow
        assert listed.cursor == len(listed.rows) - 1


async def test_a_filter_shows_what_matches_and_says_what_it_does_not_know(console: Any, seed: Seed) -> None:
    async with console() as pilot:
        listed = await go(pilot, "status:error")
        await until(pilot, lambda: len(listed.rows) == 3, "the filter did not apply")
        assert [row.id for row in listed.rows] == [seed.messages[f"error{n}"] for n in range(3)]
        await pilot.press("slash", *" colour:red", "enter")
        await shows(pilot, "is not known; known are status:")
        await pilot.press("q")
        await until(pilot, lambda: len(listed.rows) == len(seed.messages), "q did not clear the filter")


async def test_replay_requeues_the_message_and_is_audited(console: Any, seed: Seed, rows: Any) -> None:
    async with console() as pilot:
        await go(pilot, "status:error")
        await pilot.press("r")
        await shows(pilot, "1 waits for the AI again")
        assert status(rows, seed.messages["error2"]) == "received"
        act = rows.execute("SELECT act, subject FROM et_audit_log").fetchone()
        assert act == {"act": "replay", "subject": f"message:{seed.messages['error2']}"}


async def test_replaying_all_that_is_shown_asks_with_the_count_and_defaults_to_no(
    console: Any, seed: Seed, rows: Any
) -> None:
    errors = [seed.messages[f"error{n}"] for n in range(3)]
    async with console() as pilot:
        await go(pilot, "status:error")
        await pilot.press("ctrl+r")
        await shows(pilot, "Replay 3 messages?")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, MessagesScreen), "the dialog stayed")
        assert {status(rows, message_id) for message_id in errors} == {"inbound_error"}
        await pilot.press("ctrl+r")
        await shows(pilot, "Replay 3 messages?")
        await pilot.press("y")
        await shows(pilot, "3 wait for the AI again")
        assert {status(rows, message_id) for message_id in errors} == {"received"}


async def test_a_greyed_key_says_why_and_does_nothing(console: Any, seed: Seed, rows: Any) -> None:
    async with console() as pilot:
        await go(pilot, "status:answered")
        await pilot.press("r")
        await shows(pilot, "It has been answered; try a dry run (R).")
        assert rows.execute("SELECT count(*) AS n FROM et_audit_log").fetchone()["n"] == 0


async def test_a_read_only_console_acts_on_nothing(console: Any, seed: Seed, rows: Any) -> None:
    async with console(read_only=True) as pilot:
        await go(pilot, "status:error")
        await pilot.press("r")
        await shows(pilot, "This console is read-only.")
        assert status(rows, seed.messages["error2"]) == "inbound_error"
        assert "read-only" in screen_text(pilot.app).splitlines()[0]


async def test_taking_over_stops_the_ai_in_the_thread(console: Any, seed: Seed, rows: Any) -> None:
    async with console() as pilot:
        await go(pilot, "status:waiting")
        await pilot.press("t")
        await shows(pilot, "is yours")
        thread = rows.execute(
            "SELECT owner FROM et_threads WHERE id = %s", [seed.threads["waiting"]]
        ).fetchone()
        assert thread["owner"] == "human"
        assert status(rows, seed.messages["waiting"]) == "inbound_human_takeover"


@pytest.mark.parametrize("size", [(140, 40), (80, 24)])
async def test_a_message_is_opened_with_its_trip(console: Any, seed: Seed, size: tuple[int, int]) -> None:
    async with console(size) as pilot:
        await go(pilot, "provider:zai")
        await pilot.press("enter")
        await shows(pilot, "Where the time went")
        await shows(pilot, "waiting")
        await pilot.press("right_square_bracket")
        await shows(pilot, "ai_trace")
        await pilot.press("right_square_bracket")
        await shows(pilot, '"schema_version": "1.0"')
        await pilot.press("right_square_bracket")
        await shows(pilot, "You answer for Harbour Dental.")
        await pilot.press("q")
        await until(pilot, lambda: not pilot.app.screen.has_class("-open"), "q did not close it")


async def test_every_call_rule_and_reason_is_told(console: Any, seed: Seed) -> None:
    async with console((140, 60)) as pilot:
        await go(pilot, "status:error")
        await pilot.press("enter")
        await shows(pilot, "Why no reply?")
        for question in ("Why this route?", "Why so slow?", "Why so dear?"):
            await shows(pilot, question)
        await shows(pilot, "HTTP 429: too")
        await shows(pilot, "rate 503")
        await pilot.press("q", "slash", *["backspace"] * 20, *"real person", "enter")
        await pilot.press("enter")
        await shows(pilot, "human_requested (before the call)")


async def test_a_queue_of_the_overview_opens_here(console: Any) -> None:
    async with console() as pilot:
        await open_queue(pilot.app, "inbound_error", None)
        await shows(pilot, "status:inbound_error")


async def test_a_jump_leads_to_a_message_or_a_conversation(console: Any, seed: Seed) -> None:
    async with console() as pilot:
        await pilot.press("colon", *f"message {seed.messages['burst']}", "enter")
        await shows(pilot, f"#{seed.messages['burst']} ")
        await shows(pilot, "Walk-ins are welcome")
        await pilot.press("colon", *"nobody at all", "enter")
        await shows(pilot, "Nothing found for “nobody at all”.")
        await pilot.press("colon", *"overview", "enter")
        await shows(pilot, "Passing through")


async def test_copying_uses_the_terminal_and_nothing_unsafe(
    console: Any, seed: Seed, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.execute(
        "UPDATE et_messages SET text_content = %s WHERE id = %s",
        ["one\x1b]52;c;AAAA\x07 two", seed.messages["waiting"]],
    )
    async with console() as pilot:
        copied: list[str] = []
        monkeypatch.setattr(pilot.app, "copy_to_clipboard", copied.append)
        await go(pilot, "status:waiting")
        await pilot.press("enter")
        await shows(pilot, "two")
        await pilot.press("y")
        await until(pilot, lambda: copied, "nothing was copied")
        assert "one␛]52;c;AAAA␇ two" in copied[0]
        assert "\x1b" not in copied[0]


async def test_at_80_columns_the_keys_scroll_the_message_that_was_opened(console: Any, seed: Seed) -> None:
    async with console((80, 24)) as pilot:
        await go(pilot, "provider:zai")
        await pilot.press("enter")
        await shows(pilot, "Where the time went")
        page = pilot.app.screen.query_one("#trip")
        await pilot.press("G")
        await pilot.pause()
        assert page.scroll_y == page.max_scroll_y > 0
        await pilot.press("right_square_bracket", "right_square_bracket")
        await shows(pilot, "schema_version")
        assert pilot.app.screen.query_one("#json").has_focus
        await pilot.press("q", "k")
        assert pilot.app.screen.query_one("#list").has_focus


async def test_every_message_of_the_filter_goes_into_a_private_file(
    console: Any, seed: Seed, rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DOWNLOAD_DIR", str(tmp_path / "files"))
    wanted = rows.execute(
        "SELECT id FROM et_messages WHERE delivery_status = 'inbound_error' ORDER BY id"
    ).fetchall()
    async with console() as pilot:
        await go(pilot, "status:error")
        await pilot.press("ctrl+e")
        await shows(pilot, "Filter: status:inbound_error.")
        await pilot.press("j")
        await shows(pilot, f"{len(wanted)} messages written to")
    (file,) = (tmp_path / "files").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert [json.loads(line)["id"] for line in file.read_text().splitlines()] == [row["id"] for row in wanted]


async def test_the_trace_scrolls_by_its_own_keys(console: Any) -> None:
    async with console((80, 24)) as pilot:
        await go(pilot, "provider:zai")
        await pilot.press("enter")
        await shows(pilot, "Where the time went")
        await pilot.press("right_square_bracket")
        await shows(pilot, "ai_trace")
        await pilot.press("G")
        await until(pilot, lambda: "ai_trace" not in screen_text(pilot.app), "G did not scroll")
        await pilot.press("g")
        await shows(pilot, "ai_trace")


async def test_a_terminal_that_shrinks_gives_the_keys_to_the_open_message(console: Any) -> None:
    async with console() as pilot:
        listed = await go(pilot, "provider:zai")
        await pilot.press("enter")
        await shows(pilot, "Where the time went")
        assert listed.has_focus
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: not listed.display, "the list still shows")
        await pilot.press("pagedown")
        await shows(pilot, "Calls to models")
