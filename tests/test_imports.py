"""What a command loads: only what it needs, since every start pays for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import engine.supervisor

UNNEEDED = (
    "engine.runtime",
    "engine.supervisor.engine",
    "engine.channels.telegram",
    "httpx",
    "textual",
    "sqlalchemy",
)


def test_who_only_opens_the_database_loads_no_engine() -> None:
    program = (
        "import sys; from engine.supervisor import Database; from engine.observe.spending import report\n"
        f"print([name for name in {UNNEEDED!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_all_that_is_promised_is_there_and_nothing_else() -> None:
    for name in engine.supervisor.__all__:
        assert getattr(engine.supervisor, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Motor'"):
        engine.supervisor.Motor  # type: ignore[attr-defined]  # noqa: B018
