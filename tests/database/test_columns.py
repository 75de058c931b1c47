"""The file of needed columns, and who does without SQLAlchemy because of it."""

from __future__ import annotations

import subprocess
import sys

import psycopg

from engine.database.columns import declared, needed
from engine.database.migrations import check_schema
from engine.model import Blocker


def test_the_file_says_what_the_tables_say() -> None:
    assert needed() == declared(), "run: python -m engine.database.columns"


def test_whoever_only_looks_loads_no_sqlalchemy() -> None:
    doors = "engine.observe.feed, engine.observe.health, engine.observe.views"
    code = f"import sys, {doors}; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_verdict_is_its_takers_own(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        first = check_schema(connection)
        first.blockers.append(Blocker(code="x", what="x", where="x", remedy="x"))
        assert check_schema(connection).blockers == []
