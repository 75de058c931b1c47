"""A seeded database, and consoles on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import DictRow, dict_row
from textual.pilot import Pilot

from tests.support.consoles import make_app, make_quick, shows
from tests.support.seed import Seed, plant

Opener = Callable[..., Any]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


@pytest.fixture
def rows(dsn: str) -> Iterator[psycopg.Connection[DictRow]]:
    """A connection to look at what an act did."""
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
def seed(rows: psycopg.Connection[DictRow]) -> Seed:
    return plant(rows)


@pytest.fixture
def console(dsn: str, seed: Seed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opener:
    """`async with console(size=…) as pilot:` a console that has read its first view."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("TMUX", raising=False)

    @asynccontextmanager
    async def opened(size: tuple[int, int] = (140, 40), **more: Any) -> AsyncIterator[Pilot[Any]]:
        app = make_app(dsn, tmp_path, **more)
        async with app.run_test(size=size, notifications=True) as pilot:
            await shows(pilot, "Passing through" if size[0] >= 60 and size[1] >= 16 else "Switchboard needs")
            yield pilot

    return opened
