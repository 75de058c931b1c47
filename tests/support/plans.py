"""What the planner makes of a prepared statement: while it looks at the values, and once it no longer does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from engine.database.connection import statement

GROWING = re.compile("et_(messages|outbound_queue|turns|threads|leads|audit_log|notes)")


def plans(dsn: str, name: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    """The nodes of the plan for these values and of the one for any, with what each did for these."""
    query = sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON, COSTS OFF) EXECUTE looked_at")
    if values:
        query += sql.SQL("({})").format(sql.SQL(", ").join(map(sql.Literal, values)))
    nodes: list[dict[str, Any]] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(b"PREPARE looked_at AS " + statement(name))
        for mode in ("force_custom_plan", "force_generic_plan"):
            connection.execute(f"SET plan_cache_mode = {mode}".encode())
            row = connection.execute(query).fetchone()
            assert row is not None
            plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
            nodes += _nodes(plan[0]["Plan"])
    return nodes


def assert_bounded(nodes: Sequence[dict[str, Any]], most: int) -> None:
    """No table that grows is read from end to end, and no node goes through more than `most` rows."""
    for node in nodes:
        scanned = node.get("Relation Name", "")
        assert not (node["Node Type"] == "Seq Scan" and GROWING.fullmatch(scanned)), node
        touched = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        assert touched <= most, node


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
