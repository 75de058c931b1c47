"""Outbound: what leaves, what does not, and what a person decides about it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from console.jumping import open_queue
from console.screens.confirm import Confirm
from console.screens.inbox import InboxScreen
from console.screens.outbound import OutboundScreen
from engine.model import OutboundStatus, Outcome
from tests.console.desk import PICTURES, Still, after, assert_clean, bytes_written, me, now, still
from tests.console.stage import Stage, stage
from tests.support.consoles import make_app
from tests.support.conversations import ME, Planted, plant_outbound
from tests.support.rows import Connection, connect, get

__all__ = ["me", "now", "still"]


@pytest.fixture
def sends(rows: Connection, now: datetime) -> dict[str, int]:
    return plant_outbound(rows, now)


@asynccontextmanager
async def outbound(dsn: str, size: tuple[int, int] = (140, 40), **options: Any) -> AsyncIterator[Stage]:
    """The outbound area, read."""
    async with stage(dsn, size, **options) as seen:
        await seen.press("4")
        await seen.sees("Unknown outcome")
        yield seen


async def choose(seen: Stage, send_id: int) -> OutboundScreen:
    """Put the cursor on a send."""
    screen = seen.app.screen
    assert isinstance(screen, OutboundScreen)
    await seen.until(lambda: screen._list.go_to(send_id), f"send {send_id} in the list")
    await seen.pilot.pause()
    return screen


async def filtered(seen: Stage, words: str) -> None:
    await seen.press("slash")
    await seen.write(words)
    await seen.press("enter")


async def asked(seen: Stage, *words: str) -> None:
    """A question is on the screen."""
    await seen.until(lambda: isinstance(seen.app.screen, Confirm), "a question")
    await seen.sees(*words)


def state(rows: Connection, send_id: int) -> tuple[str, str | None]:
    row = get(rows, "et_outbound_queue", send_id)
    return row["status"], row["outcome"]


def acts(rows: Connection) -> list[str]:
    return [row["act"] for row in rows.execute("SELECT act FROM et_audit_log ORDER BY id").fetchall()]


# Seeing


@pytest.mark.usefixtures("sends")
async def test_unknown_outcomes_come_first_and_each_group_tells_its_count(dsn: str) -> None:
    async with outbound(dsn) as seen:
        heads = [
            "? Unknown outcome  1",
            "✗ Failed  2",
            "↻ Waiting for another try  1",
            "◐ Sending  1",
            "○ Queued  2",
        ]
        places = [seen.text.index(head) for head in [*heads, "✓ Sent  1"]]
        assert places == sorted(places)
        await seen.sees(
            "2× in 3m", "rate  429 too many requests", "6×", "permanent  the recipient has blocked"
        )
        assert "Quin Abel" in seen.text
        assert "⊘" not in seen.text, "what was cancelled is not shown unasked"


async def test_the_chosen_send_is_told_in_full(dsn: str, sends: dict[str, int]) -> None:
    async with outbound(dsn) as seen:
        await choose(seen, sends["unknown"])
        await seen.sees(
            "Is my table booked?", "Yes, your table is booked for 7 pm.", "Nobody can tell whether"
        )
        await seen.sees("queued by the AI", f"send {sends['unknown']}")
        await choose(seen, sends["retry"])
        await seen.sees("next try in 3m", "The kitchen closes at ten.")


async def test_the_filter_shows_a_group_whole_or_says_what_it_knows(
    dsn: str, rows: Connection, now: datetime, sends: dict[str, int]
) -> None:
    planted = Planted(rows, now)
    thread = planted.thread("Zoe Adler", "zoe", 5)
    for number in range(150):
        planted.answered(
            thread, f"n{number}", 5, OutboundStatus.FAILED, outcome=Outcome.REJECTED, error_class="auth"
        )
    async with outbound(dsn) as seen:
        await seen.sees("✗ Failed  152 · 50 shown")
        screen = await choose(seen, sends["unknown"])
        await filtered(seen, "failed class:auth")
        await seen.sees("✗ Failed  100+")
        await seen.press("G", "G")
        await seen.until(lambda: len(screen._list.rows) == 151, "all of them, below their heading")
        await seen.until(lambda: "Lou Maris" not in seen.text, "only that class")
        await filtered(seen, " nonsense")
        await seen.sees("“nonsense” is not known")
        await seen.press("q")
        await seen.sees("Unknown outcome")


@pytest.mark.usefixtures("sends")
@pytest.mark.parametrize(
    ("status", "outcome", "shown", "hidden"),
    [
        ("failed", "unknown", "Kim Ito", "Lou Maris"),
        ("failed", None, "Lou Maris", "Kim Ito"),
        ("failed", "cancelled", "Quin Abel", "Kim Ito"),
        ("retry_scheduled", None, "Mia Roth", "Kim Ito"),
        ("processing", None, "Nat Wolf", "Kim Ito"),
    ],
)
async def test_a_queue_of_the_overview_opens_here(
    dsn: str, status: str, outcome: str | None, shown: str, hidden: str
) -> None:
    async with stage(dsn) as seen:
        await open_queue(seen.app, status, outcome)
        await seen.sees(shown)
        await seen.until(lambda: hidden not in seen.text, "nothing else")


async def test_a_new_state_appears_by_itself(dsn: str, rows: Connection, sends: dict[str, int]) -> None:
    async with outbound(dsn) as seen:
        await choose(seen, sends["unknown"])
        rows.execute(
            "UPDATE et_outbound_queue SET status = 'sent', outcome = 'confirmed', finished_at = now() WHERE id = %s",
            [sends["unknown"]],
        )
        await seen.until(lambda: "Unknown outcome" not in seen.text, "nothing is unknown any more")
        await seen.sees("✓ Sent  2", "✓ sent")


@pytest.mark.usefixtures("sends")
async def test_a_small_terminal_shows_the_list_or_the_send(dsn: str) -> None:
    async with outbound(dsn, (80, 24)) as seen:
        assert "Its way" not in seen.text
        await seen.press("enter")
        await seen.sees("Its way", "Kim Ito")
        assert "Waiting for another try" not in seen.text
        await seen.press("q")
        await seen.sees("Waiting for another try")


async def test_hostile_words_never_reach_the_terminal(dsn: str, sends: dict[str, int]) -> None:
    for size in ((140, 40), (80, 24)):
        async with outbound(dsn, size) as seen:
            await choose(seen, sends["hostile"])
            await seen.press("enter")
            await seen.sees("␛[31mred␛]0;owned␇ [b]bold[/b]", "Its way")
            assert_clean(seen)


@pytest.mark.usefixtures("sends")
async def test_nothing_is_sent_to_the_terminal_while_nothing_changes(dsn: str, now: datetime) -> None:
    async with outbound(dsn, clock=Still(now)) as seen:
        await seen.sees("Its way")
        await seen.pilot.pause(1.5)
        assert await bytes_written(seen, 3) == 0


async def test_the_thread_opens_in_the_inbox(dsn: str, sends: dict[str, int]) -> None:
    async with outbound(dsn) as seen:
        await choose(seen, sends["failed"])
        await seen.press("t")
        await seen.until(lambda: isinstance(seen.app.screen, InboxScreen), "the inbox")
        await seen.sees("Lou Maris  lou", "We are open from nine.", "✗ failed")


# One send


async def test_a_failed_send_is_tried_again(dsn: str, rows: Connection, sends: dict[str, int]) -> None:
    async with outbound(dsn) as seen:
        await choose(seen, sends["failed"])
        await seen.press("r")
        await seen.until(lambda: state(rows, sends["failed"]) == ("queued", None), "queued again")
        await seen.sees("○ Queued  3")
    assert acts(rows) == ["send.retry"]


async def test_an_unknown_one_is_sent_again_only_when_agreed(
    dsn: str, rows: Connection, sends: dict[str, int]
) -> None:
    async with outbound(dsn) as seen:
        screen = await choose(seen, sends["unknown"])
        await seen.press("r")
        await asked(seen, "Send it to Kim Ito again?", "may get it twice")
        await seen.press("enter")
        await seen.until(lambda: seen.app.screen is screen)
        assert state(rows, sends["unknown"]) == ("failed", "unknown")
        await seen.press("r")
        await asked(seen)
        await seen.press("y")
        await seen.until(lambda: state(rows, sends["unknown"]) == ("queued", None), "queued again")
    assert acts(rows) == ["send.resend"]


async def test_an_unknown_one_is_settled(dsn: str, rows: Connection, sends: dict[str, int]) -> None:
    async with outbound(dsn) as seen:
        await choose(seen, sends["unknown"])
        await seen.press("s")
        await asked(seen, "cannot be taken back")
        await seen.press("y")
        await seen.until(lambda: state(rows, sends["unknown"]) == ("sent", "confirmed"), "settled")
        await seen.sees(f"{ME}: mark sent")


async def test_a_waiting_one_is_cancelled(dsn: str, rows: Connection, sends: dict[str, int]) -> None:
    async with outbound(dsn) as seen:
        await choose(seen, sends["queued"])
        await seen.press("x")
        await asked(seen, "Cancel the message to Oda Falk?")
        await seen.press("y")
        await seen.until(lambda: state(rows, sends["queued"]) == ("failed", "cancelled"), "cancelled")
        await seen.sees("○ Queued  1")
    assert state(rows, sends["held"]) == ("queued", None)


async def test_a_key_that_does_nothing_says_why(dsn: str, rows: Connection, sends: dict[str, int]) -> None:
    async with outbound(dsn) as seen:
        await choose(seen, sends["sending"])
        await seen.press("x")
        await seen.hears("It is being sent right now.")
        await choose(seen, sends["sent"])
        await seen.press("s")
        await seen.hears("It has left already.")
        await choose(seen, sends["failed"])
        await seen.press("s")
        await seen.hears("It has failed; nobody doubts that.")
    assert acts(rows) == []


# Everything the filter shows


async def test_cancelling_all_asks_with_the_count_and_defaults_to_no(
    dsn: str, rows: Connection, sends: dict[str, int]
) -> None:
    waiting = [sends[name] for name in ("queued", "held", "retry")]
    async with outbound(dsn) as seen:
        screen = await choose(seen, sends["queued"])
        await seen.press("X")
        await asked(seen, "Cancel 3 messages?", "Filter: none")
        await seen.press("enter")
        await seen.until(lambda: seen.app.screen is screen)
        assert all(state(rows, i)[0] != "failed" for i in waiting)
        await seen.press("X")
        await asked(seen)
        await seen.press("y")
        await seen.hears("3 done")
    assert [state(rows, i) for i in waiting] == [("failed", "cancelled")] * 3
    assert state(rows, sends["sending"])[0] == "processing"
    assert acts(rows) == ["send.cancel"]


async def test_the_filter_bounds_what_is_cancelled(dsn: str, rows: Connection, sends: dict[str, int]) -> None:
    async with outbound(dsn) as seen:
        await filtered(seen, "retry")
        await seen.until(lambda: "○ Queued" not in seen.text, "only retries")
        await seen.press("X")
        await asked(seen, "Cancel 1 message?", "Filter: retry")
        await seen.press("y")
        await seen.hears("1 done")
        await seen.press("R")
        await seen.hears("The filter shows nothing to retry.")
    assert state(rows, sends["retry"]) == ("failed", "cancelled")
    assert state(rows, sends["queued"]) == ("queued", None)


async def test_retrying_all_leaves_unknown_and_cancelled_ones(
    dsn: str, rows: Connection, sends: dict[str, int]
) -> None:
    async with outbound(dsn) as seen:
        await seen.press("R")
        await asked(seen, "Send 2 messages again?", "1 of unknown outcome are left")
        await seen.press("y")
        await seen.hears("2 done")
    assert state(rows, sends["failed"]) == ("queued", None)
    assert state(rows, sends["unknown"]) == ("failed", "unknown")
    assert state(rows, sends["cancelled"]) == ("failed", "cancelled")


async def test_unknown_ones_are_sent_again_or_settled_together(
    dsn: str, rows: Connection, sends: dict[str, int]
) -> None:
    async with outbound(dsn) as seen:
        await filtered(seen, "unknown")
        await seen.until(lambda: "✗ Failed" not in seen.text, "only unknown ones")
        await seen.press("R")
        await asked(seen, "Send 1 message of unknown outcome again?", "twice")
        await seen.press("n")
        await seen.until(lambda: not isinstance(seen.app.screen, Confirm))
        assert state(rows, sends["unknown"]) == ("failed", "unknown")
        await seen.press("S")
        await asked(seen, "Mark 1 message of unknown outcome as sent?")
        await seen.press("y")
        await seen.hears("1 done")
    assert state(rows, sends["unknown"]) == ("sent", "confirmed")


async def test_a_read_only_console_changes_nothing(dsn: str, rows: Connection, sends: dict[str, int]) -> None:
    async with outbound(dsn, read_only=True) as seen:
        await choose(seen, sends["unknown"])
        for key in ("r", "s", "x", "R", "X", "S"):
            await seen.press(key)
        await seen.hears("This console is read-only.")
        assert isinstance(seen.app.screen, OutboundScreen)
    assert state(rows, sends["unknown"]) == ("failed", "unknown")
    assert acts(rows) == []


# Pictures


@pytest.mark.usefixtures("still")
@PICTURES
def test_picture(
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
        plant_outbound(connection)
    app = make_app(dsn, tmp_path, frozen=True)
    until = "Unknown outcome" if size[0] < 100 else "Its way"
    assert snap_compare(app, terminal_size=size, run_before=after("4", until=until))
