"""The dialog of a dry run: both sides, and the way out, at every size."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from console.screens.dry_run import DryRunDialog
from engine.operator.dry_run import DryRun, TurnSide, compare_words
from tests.support.consoles import screen_text, shows, until


def side(text: str) -> TurnSide:
    return TurnSide(
        turn_id=1, kind="live", outcome="replied", reason=None, error=None, text=text, agent_version=2,
        provider="uniapi", model="gemini-3-flash-preview", route=["uniapi/gemini-3-flash-preview"],
        prompt_tokens=219, completion_tokens=24, total_tokens=243, cost_usd=Decimal("0.0002"), latency_ms=890,
        at=datetime(2026, 3, 14, tzinfo=UTC),
    )  # fmt: skip


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
async def test_both_sides_the_verdict_and_the_way_out_are_seen(console: Any, size: tuple[int, int]) -> None:
    old, new = side("We close at ten."), side("We close at eleven.")
    run = DryRun(message_id=7, old=old, new=new, words=compare_words(old.text or "", new.text or ""))

    async def at_once() -> DryRun:
        return run

    async with console(size=size) as pilot:
        await pilot.app.push_screen(DryRunDialog(7, at_once))
        await shows(pilot, "Dry run of message 7: nothing is sent. Another text.")
        await shows(pilot, "We close at eleven.")
        await shows(pilot, "890 ms")
        text = screen_text(pilot.app)
        assert text.count("uniapi gemini-3-flash-preview ") == 2, text
        assert "esc closes" in text
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, DryRunDialog), "it stayed")
