"""Is the database's shape the one this engine needs? Step 6 of start-up, and repeated while running.

What is needed comes from the columns of tables.py and from the guards that the SQL file creates; what is
there comes from one catalogue query. Types are compared by family: an `integer` id or a `varchar` status of
an older program is as good as ours.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache, lru_cache
from typing import Any

import psycopg
from pydantic import BaseModel

from engine.database.columns import Needed, needed
from engine.database.connection import SQL_DIR, Pool
from engine.model import Blocker

OLDEST_SERVER = 140_000
SCHEMA_FILE = "messaging_m1_unified_schema.sql"
MIGRATE = "Run: switchboard migrate"

FAMILIES = {
    "integer": {"smallint", "integer", "bigint"},
    "text": {"text", "character varying", "character", "citext"},
    "json": {"json", "jsonb"},
    "timestamp": {"timestamp with time zone", "timestamp without time zone"},
    "number": {"numeric", "double precision", "real"},
    "boolean": {"boolean"},
}
#: To cast a column to the type we need, where a plain cast would not do.
_TYPE_OF = {
    "integer": "bigint",
    "text": "text",
    "json": "jsonb",
    "timestamp": "timestamptz",
    "number": "numeric(12, 6)",
    "boolean": "boolean",
}

CATALOGUE = """
SELECT json_build_object(
    'server', current_setting('server_version_num')::integer,
    'columns', (
        SELECT coalesce(json_object_agg(relname, columns), '{}') FROM (
            SELECT c.relname, json_object_agg(a.attname, json_build_array(
                       format_type(a.atttypid, NULL), a.attnotnull, a.atthasdef OR a.attidentity <> '')) AS columns
              FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             WHERE c.relname LIKE 'et\\_%' AND c.relkind IN ('r', 'p') AND pg_table_is_visible(c.oid)
             GROUP BY c.relname) t),
    'triggers', (
        SELECT coalesce(json_object_agg(g.tgname, g.tgenabled <> 'D'), '{}')
          FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
         WHERE NOT g.tgisinternal AND c.relname LIKE 'et\\_%' AND pg_table_is_visible(c.oid)),
    'indexes', (
        SELECT coalesce(json_object_agg(c.relname, json_build_array(i.indisvalid, i.indisunique)), '{}')
          FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE c.relname LIKE 'et\\_%' AND pg_table_is_visible(c.oid)),
    'functions', (
        SELECT coalesce(json_object_agg(p.proname, md5(p.prosrc)), '{}') FROM pg_proc p
         WHERE p.proname LIKE 'et\\_%' AND pg_function_is_visible(p.oid)),
    'constraints', (
        SELECT coalesce(json_agg(k.conname), '[]') FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
         WHERE k.contype = 'c' AND c.relname LIKE 'et\\_%' AND pg_table_is_visible(c.oid))
)::text AS catalogue
"""


class SchemaCheck(BaseModel):
    """The verdict: compatible when there is no blocker. Drift is told, and never altered by itself."""

    compatible: bool
    blockers: list[Blocker]
    drift: list[str]
    checked_columns: list[str]
    """The `et_messages` columns that were looked for."""


@cache
def functions() -> dict[str, str]:
    """The functions the SQL file creates, with the MD5 of their bodies: one that was replaced guards nothing."""
    sql = (SQL_DIR / SCHEMA_FILE).read_text(encoding="utf-8")
    bodies = re.findall(r"CREATE OR REPLACE FUNCTION (\w+)\(.*?AS \$\$(.*?)\$\$", sql, re.DOTALL)
    return {name: hashlib.md5(body.encode(), usedforsecurity=False).hexdigest() for name, body in bodies}


@cache
def guards() -> dict[str, list[str]]:
    """Names of the guards the SQL file creates: triggers, indexes, keys among them, and check constraints."""
    sql = (SQL_DIR / SCHEMA_FILE).read_text(encoding="utf-8")
    return {
        "keys": re.findall(r"CREATE UNIQUE INDEX IF NOT EXISTS (\w+)", sql),
        "triggers": re.findall(r"CREATE (?:OR REPLACE|CONSTRAINT) TRIGGER (\w+)", sql),
        "indexes": re.findall(r"CREATE (?:UNIQUE )?INDEX IF NOT EXISTS (\w+)", sql),
        "constraints": re.findall(r"ADD CONSTRAINT (\w+)", sql),
    }


def evaluate(answer: str) -> SchemaCheck:
    """Compare what is there (the answer of CATALOGUE) with what is needed."""
    return _evaluate(answer).model_copy(deep=True)


@lru_cache(maxsize=4)
def _evaluate(answer: str) -> SchemaCheck:
    """Kept, as the answer mostly is what it was two seconds before."""
    catalogue = json.loads(answer)
    blockers: list[Blocker] = []
    drift: list[str] = []
    if catalogue["server"] < OLDEST_SERVER:
        version = catalogue["server"] // 10_000
        blockers.append(
            Blocker(
                code="database.too_old",
                what=f"PostgreSQL {version} is too old.",
                where="server",
                remedy="Use PostgreSQL 14 or later, or the embedded one (unset DATABASE_URL).",
            )
        )
    for table, ours in needed().items():
        there = catalogue["columns"].get(table)
        if there is None:
            blockers.append(_missing("table", table))
            continue
        for name, wanted in ours.items():
            _check_column(table, name, wanted, there.get(name), blockers, drift)
        for name in sorted(there.keys() - ours.keys()):
            _check_extra(table, name, there[name], blockers, drift)
    blockers += _check_guards(catalogue)
    return SchemaCheck(
        compatible=not blockers,
        blockers=blockers,
        drift=drift,
        checked_columns=list(needed()["et_messages"]),
    )


def _missing(kind: str, name: str) -> Blocker:
    return Blocker(
        code=f"schema.{kind}_missing", what=f"The {kind} {name} is missing.", where=name, remedy=MIGRATE
    )


def _check_column(
    table: str,
    name: str,
    wanted: Needed,
    there: list[Any] | None,
    blockers: list[Blocker],
    drift: list[str],
) -> None:
    where = f"{table}.{name}"
    if there is None:
        blockers.append(_missing("column", where))
        return
    found, not_null, has_default = there
    if found not in FAMILIES[wanted.family]:
        cast = _TYPE_OF[wanted.family]
        blockers.append(
            Blocker(
                code="schema.column_type",
                what=f"The column {where} is of type {found}; it must be of the {wanted.family} family.",
                where=where,
                remedy=f"After a backup, convert it: ALTER TABLE {table} ALTER COLUMN {name} TYPE {cast} "
                f"USING {name}::text::{cast};",
            )
        )
    elif found == "json":
        drift.append(f"{where} is json, not jsonb: it works, a little slower")
    if name == "id" and not has_default:
        blockers.append(
            Blocker(
                code="schema.no_default",
                what=f"The column {where} does not number its rows by itself.",
                where=where,
                remedy=f"ALTER TABLE {table} ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY; then set its "
                f"sequence past the highest id.",
            )
        )
    elif not_null and wanted.nullable and not has_default:
        _not_null(where, table, name, blockers, drift)


def _not_null(where: str, table: str, column: str, blockers: list[Blocker], drift: list[str]) -> None:
    if column in ("lead_id", "thread_id"):
        drift.append(f"{where} is NOT NULL: rows whose sender is not known yet cannot be stored")
        return
    blockers.append(
        Blocker(
            code="schema.not_null",
            what=f"The column {where} refuses NULL, so rows cannot be written.",
            where=where,
            remedy=f"ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL;",
        )
    )


def _check_extra(table: str, name: str, there: list[Any], blockers: list[Blocker], drift: list[str]) -> None:
    where = f"{table}.{name}"
    found, not_null, has_default = there
    if not_null and not has_default:
        blockers.append(
            Blocker(
                code="schema.extra_not_null",
                what=f"The column {where} is not ours and refuses NULL, so rows cannot be written.",
                where=where,
                remedy=f"ALTER TABLE {table} ALTER COLUMN {name} DROP NOT NULL; or give it a default.",
            )
        )
    else:
        drift.append(f"{where} ({found}) is not ours; it is left alone")


def _check_guards(catalogue: dict[str, Any]) -> list[Blocker]:
    blockers = []
    needed = guards()
    for name in needed["triggers"]:
        if name not in catalogue["triggers"]:
            blockers.append(_missing("trigger", name))
        elif not catalogue["triggers"][name]:
            blockers.append(
                Blocker(
                    code="schema.trigger_disabled",
                    what=f"The trigger {name} is disabled.",
                    where=name,
                    remedy=f"ALTER TABLE … ENABLE TRIGGER {name}; on its table",
                )
            )
    for name in needed["indexes"]:
        valid, unique = catalogue["indexes"].get(name, (False, False))
        if not valid or (name in needed["keys"] and not unique):
            blockers.append(_missing("index", name))
    for name, body in functions().items():
        if name not in catalogue["functions"]:
            blockers.append(_missing("function", name))
        elif catalogue["functions"][name] != body:
            what = f"The function {name} is not the one that guards the data."
            blockers.append(Blocker(code="schema.function_differs", what=what, where=name, remedy=MIGRATE))
    for name in needed["constraints"]:
        if name not in catalogue["constraints"]:
            blockers.append(_missing("constraint", name))
    return blockers


#: Sorts more than it may keep in memory, so that it must write.
_SPILL = "SELECT count(*) FROM (SELECT repeat('x', 100) || n FROM generate_series(1, 20000) n ORDER BY 1) s"


async def check_pool(pool: Pool) -> SchemaCheck:
    """Step 6 on a running engine's pool; a few milliseconds."""
    async with pool.connection() as connection:
        row = await (await connection.execute(CATALOGUE)).fetchone()
    assert row is not None
    return evaluate(row["catalogue"])


async def check_room(pool: Pool) -> Blocker | None:
    """After a write that found the disk full: whether there is room by now, two megabytes at least."""
    if pool.no_room is None:
        return None
    try:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute("SET LOCAL work_mem = '64kB'")
            await connection.execute(_SPILL)
    except psycopg.errors.DiskFull as error:
        return Blocker(
            code="database.disk_full",
            what=f"PostgreSQL cannot write: {error.diag.message_primary}.",
            where="PostgreSQL's disk",
            remedy="Free space on the disk that holds PostgreSQL's data; work goes on by itself.",
        )
    pool.no_room = None
    return None
