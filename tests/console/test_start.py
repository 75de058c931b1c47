"""What is loaded before the first paint, and what the way in does with settings that are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from console.main import open_console
from console.session import Session
from tests.support.consoles import make_app, screen_text, until
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


@pytest.mark.parametrize(
    ("options", "engine"), [({}, True), ({"read_only": True}, False), ({"no_engine": True}, False)]
)
def test_who_only_looks_brings_no_engine(
    options: dict[str, bool], engine: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr("console.main.need_terminal", lambda instead: None)
    monkeypatch.setattr("console.app.run_console", lambda settings, **chosen: told.update(chosen) or 0)
    assert open_console(**options) == 0
    assert told["with_engine"] is engine


async def test_what_keeps_the_console_from_opening_is_readable_with_its_remedy(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = (
        "Port 8765 is taken on 127.0.0.1. If another engine runs here, attach to it: switchboard --no-engine."
    )
    monkeypatch.setattr(Session, "_open_database", lambda self: (_ for _ in ()).throw(OSError(why)))
    app = make_app(dsn, tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(
            pilot, lambda: "switchboard --no-engine." in " ".join(screen_text(app).split()), "cut off"
        )
