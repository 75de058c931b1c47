"""The transcript keeps its place whatever is shown while it has no room."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult
from textual.content import Content

from console.widgets.transcript import Entry, Transcript


def said(number: int) -> list[Entry]:
    return [Entry(key=n, body=Content(f"line {n}"), target=n) for n in range(number)]


class Talk(App[None]):
    def compose(self) -> ComposeResult:
        yield Transcript()


@pytest.mark.parametrize("later", [0, 3, 200])
async def test_what_is_shown_while_hidden_stands_when_it_gets_the_focus(later: int) -> None:
    async with Talk().run_test(size=(60, 10)) as pilot:
        transcript = pilot.app.query_one(Transcript)
        transcript.show(said(100), anew=True)
        await pilot.pause()
        transcript.styles.width = 2  # as in an area that is not on the screen
        await pilot.pause()
        transcript.show(said(later), anew=True)
        transcript.focus()
        await pilot.pause()
        transcript.styles.width = "1fr"
        await pilot.pause()
        await pilot.press("up", "down")
        shown = "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())
        assert (f"line {later - 1}" in shown) == (later > 0)
