"""The columns that the database must have, from a file: who only checks them need not load SQLAlchemy.

python -m engine.database.columns   # writes sql/columns.json anew, after a change in tables.py
"""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from engine.database.connection import SQL_DIR

if TYPE_CHECKING:
    import sqlalchemy

FILE = SQL_DIR / "columns.json"


class Needed(NamedTuple):
    """What is asked of a column."""

    family: str
    """Of types; any of the family will do."""
    nullable: bool


@cache
def needed() -> dict[str, dict[str, Needed]]:
    """By table and name, in the order of tables.py."""
    tables = json.loads(FILE.read_text(encoding="utf-8"))
    return {table: {name: Needed(*what) for name, what in names.items()} for table, names in tables.items()}


def declared() -> dict[str, dict[str, Needed]]:
    """The same, from tables.py itself."""
    from engine.database.tables import metadata

    return {
        table.name: {c.name: Needed(_family(c), bool(c.nullable)) for c in table.columns}
        for table in metadata.sorted_tables
    }


def _family(column: sqlalchemy.Column[Any]) -> str:
    from sqlalchemy import Boolean, DateTime, Integer, Numeric, Text
    from sqlalchemy.dialects.postgresql import JSONB

    kinds = (
        (Boolean, "boolean"),
        (Integer, "integer"),
        (Numeric, "number"),
        (DateTime, "timestamp"),
        (JSONB, "json"),
    )
    for kind, name in kinds:
        if isinstance(column.type, kind):
            return name
    assert isinstance(column.type, Text)
    return "text"


def _text(tables: dict[str, dict[str, Needed]]) -> str:
    """JSON with a column a line, for the eye and for diffs."""
    blocks = []
    for table, names in tables.items():
        lines = [f"    {json.dumps(name)}: {json.dumps(what)}" for name, what in names.items()]
        blocks.append(f"  {json.dumps(table)}: {{\n" + ",\n".join(lines) + "\n  }")
    return "{\n" + ",\n".join(blocks) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(_text(declared()), encoding="utf-8")
