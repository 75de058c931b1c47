"""Who writes an answer asks the AI for a draft without leaving the composer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from console.widgets.composer import Composer
from engine.demo.far_end import FarEnd
from engine.settings import load_settings
from tests.console.desk import database_now, me
from tests.console.stage import stage
from tests.console.test_inbox import choose
from tests.support.conversations import plant_inbox
from tests.support.rows import Connection

__all__ = ["me"]


@pytest.fixture
def far() -> Iterator[FarEnd]:
    with FarEnd(reply=lambda _: "We open at ten.") as running:
        yield running


async def test_a_draft_comes_into_the_empty_composer_and_never_over_what_is_written(
    dsn: str, rows: Connection, far: FarEnd, tmp_path: Path
) -> None:
    plant_inbox(rows, database_now(rows))
    settings = load_settings(
        data_dir=tmp_path, http_enabled=False, uniapi_api_key="key", uniapi_base_url=far.uniapi_url
    )
    async with stage(dsn, settings=settings) as seen:
        await seen.press("2")
        await seen.sees("Ben Okafor")
        await choose(seen, "Anna Berger")
        await seen.press("r")
        composer = await seen.until(lambda: isinstance(seen.app.focused, Composer) and seen.app.focused)
        await seen.sees("ctrl+g AI draft", "ctrl+g Draft")
        await seen.press("ctrl+g")
        await seen.until(lambda: composer.text == "We open at ten.", "the draft")
        assert composer.has_focus
        composer.put("My own words")
        await seen.press("ctrl+g")
        await seen.until(lambda: far.uniapi.total == 2, "another draft")
        await seen.pilot.pause(0.5)
        assert composer.text == "My own words"
