"""What is loaded before the first paint, and what the way in does with settings that are wrong."""

from __future__ import annotations

from pathlib import Path

from tests.support.terminal import Terminal

DEAR = {"typer", "pydantic", "sqlalchemy", "psycopg", "httpx", "apscheduler", "engine.settings"}
"""Each takes tens of milliseconds to load; none is needed to draw an area that knows nothing yet."""
TELL = """
import gc, os, console.session

async def told(session, on_phase):
    with open(os.environ["TOLD"], "w") as file:
        print(*sys.modules, "collecting" if gc.isenabled() else "", file=file)
    os._exit(0)

console.session.Session.open = told
"""


def test_nothing_dear_is_loaded_before_the_first_paint(tmp_path: Path) -> None:
    told = tmp_path / "told"
    with Terminal("", tmp_path, before=TELL, environment={"TOLD": str(told)}) as screen:
        assert screen.wait(30) == 0
    words = told.read_text().split()
    assert "console.screens.overview" in words
    assert DEAR.isdisjoint(words)
    assert words[-1] == "collecting"


def test_settings_that_are_wrong_are_told_in_the_console(tmp_path: Path) -> None:
    wrong = {"SWITCHBOARD_TURNS_IN_FLIGHT": "many"}
    with Terminal("", tmp_path, environment=wrong) as screen:
        screen.await_text("SWITCHBOARD_TURNS_IN_FLIGHT")
