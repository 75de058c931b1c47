"""The file of needed columns, and who does without SQLAlchemy because of it."""

from __future__ import annotations

import subprocess
import sys

from engine.database.columns import declared, needed


def test_the_file_says_what_the_tables_say() -> None:
    assert needed() == declared(), "run: python -m engine.database.columns"


def test_whoever_only_looks_loads_no_sqlalchemy() -> None:
    doors = "engine.observe.feed, engine.observe.health, engine.observe.views"
    code = f"import sys, {doors}; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
