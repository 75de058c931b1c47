"""Foreign text in every other field, some of it huge: nothing of it bends the layout."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.console.poison import HOSTILE, OURS, columns, poison
from tests.support.consoles import screen_text
from tests.support.seed import Seed

SIZES = [(140, 40), (80, 24)]


@pytest.fixture
def poisoned(dsn: str, seed: Seed) -> str:
    poison(dsn, huge=True)
    return dsn


def test_every_column_that_holds_words_is_hostile(poisoned: str) -> None:
    with psycopg.connect(poisoned) as connection:
        for table, column in columns(connection, "text"):
            if f"{table}.{column}" in OURS:
                continue
            query = sql.SQL("SELECT count(*), count(*) FILTER (WHERE {} LIKE %s) FROM {}")
            row = connection.execute(
                query.format(sql.Identifier(column), sql.Identifier(table)), [f"%{HOSTILE[:40]}%"]
            ).fetchone()
            assert row is not None and row[1] > 0, f"{table}.{column}: {row}"


@pytest.mark.parametrize("size", SIZES)
async def test_the_layout_stays_whole_in_every_area(
    poisoned: str, console: Callable[..., Any], size: tuple[int, int]
) -> None:
    async with console(size=size) as pilot:
        for area in "23456781":
            await pilot.press(area)
            await pilot.pause(0.4)
            for key in ("", "j", "j", "enter", "escape"):
                if key:
                    await pilot.press(key)
                    await pilot.pause(0.1)
                assert_whole(pilot.app, size)


def assert_whole(app: Any, size: tuple[int, int]) -> None:
    """Every line is as wide as the terminal, by characters whose width terminals agree on."""
    strips = app.screen._compositor.render_strips(app.size)
    assert [strip.cell_length for strip in strips] == [size[0]] * size[1]
    shown = screen_text(app)
    odd = {c for c in shown if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co")}
    odd |= {c for c in shown if "\ufe00" <= c <= "\ufe0f" or c == "\u20e3"}
    assert not odd, f"{odd}: {shown}"
