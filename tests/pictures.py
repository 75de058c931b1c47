"""`python -m tests.pictures [folder]`: the README's pictures, from seeded rows and a clock that stands still."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from tests.support.consoles import hold_still, make_app, shows
from tests.support.postgres import embedded_server
from tests.support.seed import plant

FOLDER = Path(__file__).parents[1] / "console"
SIZE = (140, 40)
PICTURES = {
    "overview": ((), "Passing through"),
    "messages": (("3", "slash", *"provider:zai", "enter", "enter", "right_square_bracket"), "ai_trace"),
    "inbox": (("2",), "Inbox"),
}
"""By file: the keys that lead there, and what is then on the screen."""


async def draw(dsn: str, name: str, folder: Path) -> Path:
    """Draw one picture; where it is."""
    keys, awaited = PICTURES[name]
    with tempfile.TemporaryDirectory() as data:
        app = make_app(dsn, Path(data), frozen=True)
        async with app.run_test(size=SIZE) as pilot:
            await shows(pilot, PICTURES["overview"][1])
            await pilot.press(*keys)
            await shows(pilot, awaited)
            await pilot.pause(1.0)
            file = folder / f"{name}.svg"
            file.write_text(app.export_screenshot(title="Switchboard"), encoding="utf-8")
    return file


def main(argv: list[str] | None = None) -> int:
    """Draw them all."""
    given = sys.argv[1:] if argv is None else argv
    folder = Path(given[0]) if given else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.pop("NO_COLOR", None)
    with embedded_server() as server, pytest.MonkeyPatch.context() as still:
        dsn = server.dsn(server.migrated_database())
        with psycopg.connect(dsn, autocommit=True) as connection:
            plant(connection)
        hold_still(still)
        for name in PICTURES:
            sys.stdout.write(f"{asyncio.run(draw(dsn, name, folder))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
