"""Backup and restore of the embedded database: one file, counts and checksums inside, proven before it counts.

A backup is taken while engines go on. A restore fills a database beside the one in force, compares it with
the manifest, and only then takes its place, in one transaction: whatever fails before that leaves everything
as it was.
"""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from pydantic import BaseModel

from engine.database.archive import (
    DUMP,
    MANIFEST,
    Connection,
    Manifest,
    beside,
    connect,
    dump,
    fill,
    pack,
    scratch,
    sums,
    unpack,
    value,
    workshop,
)
from engine.database.handle import Database
from engine.operator.audit import Operator, Refused
from engine.text import one_line

ALIVE_SECONDS = 15
#: Tables that start-up itself and engines' upkeep fill.
SEEDED = frozenset(
    {
        "et_tenants",
        "et_workspaces",
        "et_agents",
        "et_schema_runs",
        "et_engines",
        "et_channel_accounts",
        "et_retention",
    }
)


class BackedUp(BaseModel):
    """A finished backup."""

    file: Path
    bytes: int
    seconds: float
    verified: bool
    """It was restored beside the database and compared, table by table."""
    manifest: Manifest


class Restored(BaseModel):
    """A finished restore."""

    file: Path
    seconds: float
    unconfirmed_sends: int
    """Sends that were open in the backup; they may have left since, so they wait for a decision."""
    waiting: int
    """Inbound messages that were unanswered in the backup; the AI is paused until somebody has looked."""
    manifest: Manifest


def backup(database: Database, operator: Operator, file: Path, *, verify: bool = True) -> BackedUp:
    """Write a backup to `file`, which must not exist and which only its owner can read.

    `verify` restores it beside the database and compares; that needs as much room again for a while. Raises
    Refused for a database that is not ours, SwitchboardError when it cannot be written or proves wrong.
    """
    operator.may_act()
    programs = _programs(database, f'pg_dump --format=custom --file={shlex.quote(str(file))} "$DATABASE_URL"')
    if file.exists():
        raise Refused(f"{file} exists.", "Choose another name, or remove it first.")
    started = time.monotonic()
    with workshop(file.absolute().parent) as folder:
        manifest = dump(database.dsn, programs, folder / DUMP)
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2))
        if verify:
            with scratch(database.dsn) as copy:
                fill(copy, programs, folder / DUMP, manifest)
        after = {
            "file": str(file.absolute()),
            "rows": manifest.rows,
            "bytes": (folder / DUMP).stat().st_size,
            "verified": verify,
            "sha256": manifest.dump_sha256,
        }
        with connect(database.dsn) as connection, connection.transaction():
            _record(connection, operator, "backup", after)  # no file that is not in the log
            pack(folder, file)
    seconds = round(time.monotonic() - started, 2)
    return BackedUp(file=file, bytes=file.stat().st_size, seconds=seconds, verified=verify, manifest=manifest)


def restore(database: Database, operator: Operator, file: Path, *, force: bool = False) -> Restored:
    """Put the backup in `file` in the place of the database in force.

    Refused while anything else uses the database; and without `force` when it holds anything. Nothing of the
    past is sent by itself: sends that were open become of unknown outcome, and the AI is paused.
    """
    operator.may_act()
    programs = _programs(
        database,
        f'pg_restore --clean --if-exists --no-owner --dbname="$DATABASE_URL" {shlex.quote(str(file))}',
    )
    _check_unused(database.dsn)
    if not force:
        _check_empty(database.dsn)
    started = time.monotonic()
    with workshop(database.data_dir or file.absolute().parent) as folder:
        manifest = unpack(file, folder)
        with scratch(database.dsn) as copy:
            fill(copy, programs, folder / DUMP, manifest)
            unconfirmed, waiting = _settle(copy)
            after = {"file": str(file), "made_at": manifest.made_at.isoformat()}
            with connect(copy) as connection:
                _record(connection, operator, "restore", after)
            _check_unused(database.dsn)
            _swap(database.dsn, _name(copy))
    return Restored(
        file=file,
        seconds=round(time.monotonic() - started, 2),
        unconfirmed_sends=unconfirmed,
        waiting=waiting,
        manifest=manifest,
    )


def _settle(dsn: str) -> tuple[int, int]:
    """What was open then may be done by now: nothing of it happens by itself. Sends and messages in question."""
    with connect(dsn) as connection, connection.transaction():
        sends = connection.execute(
            """UPDATE et_outbound_queue
                  SET status = 'failed', outcome = 'unknown', error_class = 'restored', lease_until = NULL,
                      claimed_by = NULL, finished_at = now(),
                      updated_at = now(), last_error = 'open when the backup was made: it may have left since'
                WHERE status IN ('queued', 'processing', 'retry_scheduled') RETURNING message_id"""
        ).fetchall()
        connection.execute(
            """UPDATE et_messages SET delivery_status = 'failed', reason = 'unknown.restored', updated_at = now()
                WHERE id = ANY(%s) AND delivery_status IN ('queued', 'processing', 'retry_scheduled')""",
            [[row[0] for row in sends]],
        )
        waiting = value(
            connection,
            """SELECT count(*) FROM et_messages WHERE direction = 'inbound'
                  AND delivery_status IN ('received', 'inbound_processing')""",
        )
        connection.execute(
            """INSERT INTO et_platform_settings (key, value, updated_by) VALUES ('ai_paused', 'true', 'restore')
                   ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_by = excluded.updated_by,
                                                   updated_at = now()"""
        )
        connection.execute("UPDATE et_engines SET stopped_at = now() WHERE stopped_at IS NULL")
    return len(sends), int(waiting)


def _swap(dsn: str, copy: str) -> None:
    """The copy takes the name; the former database goes."""
    name, former = _name(dsn), f"switchboard_former_{uuid4().hex[:12]}"
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    with connect(beside(dsn)) as connection:
        try:
            with connection.transaction():
                connection.execute(rename.format(sql.Identifier(name), sql.Identifier(former)))
                connection.execute(rename.format(sql.Identifier(copy), sql.Identifier(name)))
        except psycopg.errors.ObjectInUse:
            raise _in_use() from None
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(former)))


def _check_unused(dsn: str) -> None:
    with connect(dsn) as connection:
        others = connection.execute(
            """SELECT DISTINCT application_name FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""
        ).fetchall()
        if others or (
            value(connection, "SELECT to_regclass('et_engines') IS NOT NULL")
            and value(
                connection,
                """SELECT count(*) FROM et_engines WHERE stopped_at IS NULL
                      AND heartbeat_at > now() - make_interval(secs => %s)""",
                ALIVE_SECONDS,
            )
        ):
            raise _in_use(", ".join(one_line(name, 60) for (name,) in others))


def _check_empty(dsn: str) -> None:
    with connect(dsn) as connection:
        full = {name for name, table in sums(connection).items() if table.rows and name not in SEEDED}
        if "et_agent_versions" in full and value(connection, "SELECT count(*) FROM et_agent_versions") == 1:
            full.remove("et_agent_versions")
    if full:
        raise Refused(
            f"The database is not empty: {', '.join(sorted(full)[:5])} hold rows.",
            "Back it up first; then add --force, which replaces all of it.",
        )


def _in_use(who: str = "") -> Refused:
    return Refused(
        f"An engine, a console or a command uses the database{f' ({who})' if who else ''}.",
        f"Stop it first; of an engine that was killed, wait {ALIVE_SECONDS} s.",
    )


def _programs(database: Database, instead: str) -> Path:
    if database.programs is None:
        raise Refused(
            "This is for the embedded database; DATABASE_URL names a PostgreSQL of your own.",
            f"Run: {instead}",
        )
    return database.programs


def _record(connection: Connection, operator: Operator, act: str, after: dict[str, Any]) -> None:
    connection.execute(
        "INSERT INTO et_audit_log (actor, origin, act, subject, after) VALUES (%s, %s, %s, 'database', %s::jsonb)",
        [operator.name, operator.origin, act, json.dumps(after)],
    )


def _name(dsn: str) -> str:
    given = conninfo_to_dict(dsn)
    return str(given.get("dbname") or given.get("user") or "postgres")
