"""What the console looks like: seeded data, a clock that stands, three sizes, with and without colour.

After a change that is meant to show: pytest tests/snapshots --snapshot-update, and look at every picture.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from textual.pilot import Pilot

from tests.support.consoles import hold_still, make_app, make_quick, settled, shows
from tests.support.seed import plant

DARK, PLAIN = "dark", "NO_COLOR"
LARGE, MIDDLE, SMALL = (200, 60), (140, 40), (80, 24)


@pytest.fixture
def picture(
    dsn: str, tmp_path: Path, snap_compare: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., bool]:
    """`picture(size, look, *keys, awaits=…, sql=…)`: whether the screen looks as it did."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        plant(connection)
    hold_still(monkeypatch)
    make_quick(monkeypatch)
    monkeypatch.delenv("TMUX", raising=False)

    def take(
        size: tuple[int, int], look: str, *keys: str, awaits: str = "", sql: str = "", **more: Any
    ) -> bool:
        if sql:
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(sql.encode())
        monkeypatch.delenv("NO_COLOR", raising=False)
        if look == PLAIN:
            monkeypatch.setenv("NO_COLOR", "1")

        async def prepare(pilot: Pilot[Any]) -> None:
            if size[0] >= 60 and not sql:
                await shows(pilot, "55 turns")
            for key in keys:
                await pilot.press(key)
            if awaits:
                await shows(pilot, awaits)
            await settled(pilot, 3)

        app = make_app(dsn, tmp_path, frozen=True, **more)
        return bool(snap_compare(app, terminal_size=size, run_before=prepare))

    return take


Picture = Callable[..., bool]


@pytest.mark.parametrize("size", [LARGE, MIDDLE, SMALL], ids=["200x60", "140x40", "80x24"])
def test_overview_tells_the_state_of_everything(picture: Picture, size: tuple[int, int]) -> None:
    assert picture(size, DARK)


def test_overview_without_colour_tells_as_much(picture: Picture) -> None:
    assert picture(MIDDLE, PLAIN)


def test_overview_names_each_blocker_with_its_remedy_and_key(picture: Picture) -> None:
    assert picture(
        MIDDLE, DARK, sql="ALTER TABLE et_messages DROP COLUMN llm_model", awaits="llm_model is missing"
    )


@pytest.mark.parametrize(
    ("size", "look"),
    [(SMALL, DARK), (MIDDLE, DARK), (SMALL, PLAIN)],
    ids=["80x24", "140x40", "80x24-NO_COLOR"],
)
def test_the_kill_switch_is_unmistakable(picture: Picture, size: tuple[int, int], look: str) -> None:
    sql = "INSERT INTO et_platform_settings (key, value) VALUES ('ai_paused', 'true')"
    assert picture(size, look, sql=sql, awaits="Nothing is answered until")


@pytest.mark.parametrize(("size", "look"), [(SMALL, DARK), (MIDDLE, PLAIN)], ids=["80x24", "140x40-NO_COLOR"])
def test_a_paused_channel_is_told_apart(picture: Picture, size: tuple[int, int], look: str) -> None:
    sql = """INSERT INTO et_platform_settings (key, value) VALUES ('paused_channels', '["telegram"]')"""
    assert picture(size, look, sql=sql, awaits="AI PAUSED on telegram")


@pytest.mark.parametrize(
    ("size", "look"),
    [(MIDDLE, DARK), (LARGE, DARK), (MIDDLE, PLAIN)],
    ids=["140x40", "200x60", "140x40-NO_COLOR"],
)
def test_messages_are_listed_with_the_newest_at_the_bottom(
    picture: Picture, size: tuple[int, int], look: str
) -> None:
    assert picture(size, look, "3", awaits="following")


def test_messages_in_a_small_terminal_without_colour(picture: Picture) -> None:
    assert picture(SMALL, PLAIN, "3", awaits="following")


@pytest.mark.parametrize(
    ("size", "look"),
    [(MIDDLE, DARK), (LARGE, DARK), (MIDDLE, PLAIN)],
    ids=["140x40", "200x60", "140x40-NO_COLOR"],
)
def test_a_message_stands_beside_the_list_with_its_trip(
    picture: Picture, size: tuple[int, int], look: str
) -> None:
    keys = ("3", "slash", *"provider:zai", "enter", "enter")
    assert picture(size, look, *keys, awaits="Why so dear?")


def test_a_message_fills_a_small_terminal(picture: Picture) -> None:
    keys = ("3", "slash", *"provider:zai", "enter", "enter")
    assert picture(SMALL, DARK, *keys, awaits="Where the time went")


def test_the_trace_is_a_tree(picture: Picture) -> None:
    keys = ("3", "slash", *"provider:zai", "enter", "enter", "right_square_bracket")
    assert picture(MIDDLE, DARK, *keys, awaits="ai_trace")


def test_a_bulk_act_asks_with_the_count(picture: Picture) -> None:
    keys = ("3", "slash", *"status:error", "enter", "ctrl+r")
    assert picture(SMALL, DARK, *keys, awaits="Replay 3 messages?")


def test_a_terminal_too_small_says_what_it_needs(picture: Picture) -> None:
    assert picture((56, 14), DARK, awaits="Switchboard needs")
