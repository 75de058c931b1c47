"""Start-up in six steps, under one advisory lock: the engine runs against no schema it does not know.

1 tables from the metadata · 2 additive migrations by Alembic's comparison · 3 usage columns ·
4 the SQL file, inside a savepoint · 5 usage columns again · 6 the compatibility check.
Only ever adds; whatever else differs is reported as drift. When the files have not changed since the last
good run and the check finds nothing, steps 1 to 5 are left out.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from psycopg import sql
from pydantic import BaseModel, Field

from engine.database import search_index
from engine.database.connection import SQL_DIR, conninfo, explain_connect_error
from engine.database.schema_checks import CATALOGUE, SCHEMA_FILE, SchemaCheck, evaluate, guards
from engine.model import Blocker

if TYPE_CHECKING:
    from alembic.operations.ops import MigrateOperation
    from sqlalchemy.engine import Connection as SAConnection

USAGE_FILE = "message_usage_columns.sql"
#: Any number that no other program is likely to lock: the letters "swbd".
ADVISORY_LOCK = 0x73776264
LOCK_TIMEOUT_MS = 1500
LOCK_TRIES = 20
LOCK_LOOK_SECONDS = 0.05

StepName = Literal[
    "1 tables",
    "2 additive migrations",
    "3 usage columns",
    "4 unified schema",
    "5 usage columns again",
    "6 check",
]
STEP_NAMES: tuple[StepName, ...] = (
    "1 tables",
    "2 additive migrations",
    "3 usage columns",
    "4 unified schema",
    "5 usage columns again",
    "6 check",
)


class Step(BaseModel):
    """One of the six steps: the SQL it runs (or would run), and how that went."""

    name: StepName
    status: Literal["planned", "running", "done", "unchanged", "failed"] = "planned"
    ms: float = 0.0
    statements: list[str] = Field(default_factory=list)
    error: str | None = None


class MigrationRun(BaseModel):
    """A run of the six steps, or a plan of one."""

    started_at: datetime
    ms: float = 0.0
    ok: bool = False
    changed: bool = False
    steps: list[Step]
    blockers: list[Blocker] = Field(default_factory=list)
    drift: list[str] = Field(default_factory=list)


def fingerprint() -> str:
    """Changes when the metadata or an SQL file of the schema does."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in (
        here / "tables.py",
        here / "search_index.py",
        SQL_DIR / USAGE_FILE,
        SQL_DIR / SCHEMA_FILE,
    ):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def migrate(
    dsn: str, *, actor: str = "start-up", on_step: Callable[[Step], None] = lambda _: None
) -> MigrationRun:
    """Run the six steps and record them. Raises DatabaseError when the database cannot be reached.

    `on_step` hears of each step when it starts and when it ends. A second migrator waits for the first.
    """
    started = time.perf_counter()
    run = MigrationRun(started_at=datetime.now(UTC), steps=[Step(name=name) for name in STEP_NAMES])
    with _connect(dsn) as connection:
        _lock(connection)
        _set_lock_timeout(connection)
        check = check_schema(connection)
        if check.compatible and _last_fingerprint(connection) == fingerprint():
            for step in run.steps[:5]:
                step.status = "unchanged"
                on_step(step)
        else:
            run.changed = True
            _run_steps(connection, run, on_step)
        run.drift += search_index.make_small(connection)
        with _timed(run.steps[5], on_step):
            check = check_schema(connection)
            run.steps[5].statements = [CATALOGUE.strip()]
        failed = [_step_blocker(step) for step in run.steps if step.status == "failed"]
        run.blockers = failed + check.blockers
        run.drift += [line for line in check.drift if line not in run.drift]
        run.ok = not run.blockers
        run.ms = (time.perf_counter() - started) * 1000
        _record(connection, run, actor)
    return run


def plan(dsn: str) -> MigrationRun:
    """What `migrate` would do: the same steps with their exact SQL; nothing is changed."""
    run = MigrationRun(started_at=datetime.now(UTC), steps=[Step(name=name) for name in STEP_NAMES])
    with _connect(dsn) as connection:
        check = check_schema(connection)
        if check.compatible and _last_fingerprint(connection) == fingerprint():
            for step in run.steps[:5]:
                step.status = "unchanged"
        else:
            run.changed = True
            run.steps[0].statements = _create_tables(connection)
            run.steps[1].statements, run.drift = _additions(connection)
            run.steps[1].statements += search_index.planned(search_index.state_now(connection))
            for step, file in zip(run.steps[2:5], (USAGE_FILE, SCHEMA_FILE, USAGE_FILE), strict=True):
                step.statements = [body for _, body in file_steps(file)]
        run.steps[5].statements = [CATALOGUE.strip()]
        run.blockers = check.blockers
        run.drift += [line for line in check.drift if line not in run.drift]
        run.ok = not run.blockers
    return run


def check_schema(connection: psycopg.Connection[Any]) -> SchemaCheck:
    """Step 6 alone."""
    row = connection.execute(CATALOGUE).fetchone()
    assert row is not None
    return evaluate(row[0])


def file_steps(name: str) -> list[tuple[str, str]]:
    """The steps of an SQL file as (what it does, SQL); they start at lines `-- step: …`."""
    body = (SQL_DIR / name).read_text(encoding="utf-8")
    parts = re.split(r"^-- step: (.+)$", body, flags=re.MULTILINE)[1:]
    return [(title.strip(), sql.strip()) for title, sql in zip(parts[::2], parts[1::2], strict=True)]


def _connect(dsn: str) -> psycopg.Connection[Any]:
    try:
        connection = psycopg.connect(conninfo(dsn, "switchboard migrate"), autocommit=True)
    except psycopg.Error as error:
        raise explain_connect_error(error, dsn) from None
    connection.execute("SET statement_timeout = 0")
    connection.execute("SET client_min_messages = warning")
    connection.execute("SET idle_in_transaction_session_timeout = 0")
    return connection


def _lock(connection: psycopg.Connection[Any]) -> None:
    """Wait for other migrators, without a statement under way: an index made CONCURRENTLY waits for those."""
    while True:
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", [ADVISORY_LOCK]).fetchone()
        if row is not None and row[0]:
            return
        time.sleep(LOCK_LOOK_SECONDS)


def _set_lock_timeout(connection: psycopg.Connection[Any]) -> None:
    connection.execute(sql.SQL("SET lock_timeout = {}").format(LOCK_TIMEOUT_MS))


def _run_steps(
    connection: psycopg.Connection[Any], run: MigrationRun, on_step: Callable[[Step], None]
) -> None:
    first, second, usage, unified, again = run.steps[:5]
    with _timed(first, on_step):
        first.statements = _create_tables(connection)
        _apply(connection, first)
    with _timed(second, on_step):
        second.statements, run.drift = _additions(connection)
        _apply(connection, second)
    for step, file in ((usage, USAGE_FILE), (unified, SCHEMA_FILE), (again, USAGE_FILE)):
        with _timed(step, on_step):
            _apply_file(connection, step, file)


@contextmanager
def _timed(step: Step, on_step: Callable[[Step], None]) -> Iterator[None]:
    started = time.perf_counter()
    step.status = "running"
    on_step(step)
    try:
        yield
        step.status = "failed" if step.error else "done"
    except psycopg.Error as error:
        step.status, step.error = "failed", _said(error)
    step.ms = (time.perf_counter() - started) * 1000
    on_step(step)


def _apply(connection: psycopg.Connection[Any], step: Step) -> None:
    """Run statements one by one; one that fails is named and the others still run."""
    for text in step.statements:
        try:
            _patiently(lambda text=text: connection.execute(text.encode()))  # type: ignore[misc]
        except psycopg.Error as error:
            step.error = f"{_first_line(text)}: {_said(error)}"


def _apply_file(connection: psycopg.Connection[Any], step: Step, file: str) -> None:
    """Run a file as a whole or not at all: a failing step leaves the earlier schema as it was."""
    steps = file_steps(file)
    step.statements = [body for _, body in steps]

    def apply() -> None:
        current = ""
        try:
            with connection.transaction(), connection.transaction():  # the inner one is a savepoint
                for title, body in steps:
                    current = title
                    connection.execute(body.encode())
        except psycopg.errors.LockNotAvailable:
            raise
        except psycopg.Error as error:
            step.error = f"{file}, step “{current}”: {_said(error)}"

    _patiently(apply)


def _patiently(run: Callable[[], object]) -> None:
    """Give way to long transactions: wait briefly for locks, let others pass, try again."""
    for attempt in range(1, LOCK_TRIES + 1):
        try:
            run()
        except psycopg.errors.LockNotAvailable:
            if attempt == LOCK_TRIES:
                raise
            time.sleep(min(0.25 * attempt, 2.0))
        else:
            return


def _create_tables(connection: psycopg.Connection[Any]) -> list[str]:
    """CREATE statements of the tables that are missing, with their indexes."""
    from sqlalchemy.dialects import registry
    from sqlalchemy.schema import CreateIndex, CreateTable

    from engine.database.tables import metadata

    dialect = registry.load("postgresql.psycopg")()
    statements = []
    for table in metadata.sorted_tables:
        row = connection.execute("SELECT to_regclass(%s)", [table.name]).fetchone()
        if row is not None and row[0] is None:
            statements.append(str(CreateTable(table).compile(dialect=dialect)).strip())
            statements += [str(CreateIndex(i).compile(dialect=dialect)).strip() for i in _indexes(table)]
    return statements


def _indexes(table: Any) -> list[Any]:
    return sorted(table.indexes, key=lambda index: str(index.name))


def _additions(connection: psycopg.Connection[Any]) -> tuple[list[str], list[str]]:
    """SQL of what Alembic finds missing in tables that exist, and in words what else differs."""
    from alembic.autogenerate import produce_migrations
    from alembic.migration import MigrationContext
    from alembic.operations import ops
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    from engine.database.tables import metadata

    engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=StaticPool)
    known = set(guards()["indexes"]) | search_index.NAMES

    def ours(obj: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
        if kind == "table":
            return name in metadata.tables
        return not (kind == "index" and name in known)

    statements: list[str] = []
    drift: list[str] = []
    connection.execute("SET lock_timeout = 0")  # reading may wait, it holds nobody up
    connection.autocommit = False
    try:
        with engine.connect() as live:
            existing = _existing_tables(live)
            context = MigrationContext.configure(live, opts={"include_object": ours, "compare_type": True})
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # reflection meets storage options it does not know
                script = produce_migrations(context, metadata)
            assert script.upgrade_ops is not None
            for group in script.upgrade_ops.ops:
                if isinstance(group, ops.ModifyTableOps) and group.table_name in existing:
                    for op in group.ops:
                        _sort_out(op, statements, drift)
    finally:
        connection.rollback()
        connection.autocommit = True
        _set_lock_timeout(connection)
    return statements, drift


def _existing_tables(live: SAConnection) -> set[str]:
    from sqlalchemy import inspect

    return set(inspect(live).get_table_names())


def _sort_out(op: MigrateOperation, statements: list[str], drift: list[str]) -> None:
    """An addition becomes SQL; anything else becomes a line about drift."""
    from alembic.operations import ops

    if isinstance(op, ops.AddColumnOp):
        statements.append(_render(op))
    elif isinstance(op, ops.CreateIndexOp):
        op.kw["postgresql_concurrently"] = True
        op.if_not_exists = True
        statements.append(_render(op))
    elif isinstance(op, ops.AlterColumnOp):
        what = f"{op.table_name}.{op.column_name}"
        if op.modify_type is not None:
            drift.append(f"{what} is {op.existing_type}, ours would be {op.modify_type}; it is left alone")
        elif op.modify_nullable is not None:
            drift.append(f"{what} is {'NULL' if not op.modify_nullable else 'NOT NULL'}able other than ours")
    elif isinstance(op, ops.DropColumnOp):
        pass  # the check tells of columns that are not ours
    elif isinstance(op, ops.DropIndexOp | ops.DropConstraintOp):
        name = op.index_name if isinstance(op, ops.DropIndexOp) else op.constraint_name
        drift.append(f"{name} of {op.table_name} is not ours; it is left alone")
    else:
        drift.append(f"{type(op).__name__} on {getattr(op, 'table_name', 'a table')} is not applied")


def _render(op: MigrateOperation) -> str:
    """The SQL of an operation, as Alembic's offline mode writes it."""
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    buffer = io.StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": buffer, "literal_binds": True}
    )
    Operations(context).invoke(op)
    return buffer.getvalue().strip().rstrip(";")


def _last_fingerprint(connection: psycopg.Connection[Any]) -> str | None:
    try:
        row = connection.execute(
            "SELECT fingerprint FROM et_schema_runs WHERE ok ORDER BY id DESC LIMIT 1"
        ).fetchone()
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
        return None
    return row[0] if row else None


def _record(connection: psycopg.Connection[Any], run: MigrationRun, actor: str) -> None:
    steps = [step.model_dump(include={"name", "status", "ms", "error"}) for step in run.steps]
    try:
        connection.execute(
            "INSERT INTO et_schema_runs (started_at, finished_at, actor, fingerprint, ok, steps, blockers, drift)"
            " VALUES (%s, clock_timestamp(), %s, %s, %s, %s, %s, %s)",
            [
                run.started_at,
                actor,
                fingerprint(),
                run.ok,
                json.dumps(steps),
                json.dumps([blocker.model_dump() for blocker in run.blockers]),
                json.dumps(run.drift),
            ],
        )
    except psycopg.Error:
        if run.ok:
            raise
        # A schema too broken to record into says so by its blockers.


def _step_blocker(step: Step) -> Blocker:
    return Blocker(
        code="schema.step_failed",
        what=f"Start-up step {step.name} failed: {step.error}",
        where=step.name,
        remedy="Mend what it names, then run: switchboard migrate",
    )


def _said(error: psycopg.Error) -> str:
    detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
    return f"{error.diag.message_primary or str(error).strip()}{detail}"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0][:120]
