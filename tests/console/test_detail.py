"""The parts of a message's detail that are made of what a turn has recorded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from textual.app import App, ComposeResult
from textual.widgets import ContentSwitcher

from console.clock import Clock
from console.widgets.detail_text import rules
from console.widgets.message_detail import DetailPane

BLOCK = {"rule": "links", "stage": "after", "verdict": "block", "detail": "example.org"}


def told(*verdicts: Any) -> str:
    lines = rules(cast(Any, SimpleNamespace(turn={"verdicts": list(verdicts)})))
    return "\n".join(str(line.content) for line in lines)


def test_rules_that_passed_stand_on_one_line_however_they_were_stored() -> None:
    old = {"rule": "stale", "stage": "before", "verdict": "pass", "detail": ""}
    for first in (old, "stale"):
        said = told(first, "canary", BLOCK)
        assert "2 of 3 passed" in said
        assert "canary" in said and "stale" in said
        assert "links (after the call)" in said and "example.org" in said
    assert told() == ""


async def test_keys_may_be_wanted_when_nothing_is_left_that_could_take_them() -> None:
    """A console that closes takes its widgets down one by one."""

    class Bare(App[None]):
        def compose(self) -> ComposeResult:
            yield DetailPane(Clock())

    async with Bare().run_test() as pilot:
        pane = pilot.app.query_one(DetailPane)
        pane.enter()
        await pane.query_one(ContentSwitcher).remove()
        pane.enter()
