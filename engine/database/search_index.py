"""The indexes that a search for words goes through, and how they are made without holding anybody up.

They are no part of the schema that engines need: without them a search looks through bounded stretches of
messages. A small table gets them at start-up; on a large one an engine makes them while it runs, CONCURRENTLY,
so that messages are stored and answered meanwhile. Where the extension pg_trgm can be had, a search finds
pieces of words and misspellings too; the embedded PostgreSQL comes without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from engine.database.connection import Connection, Pool, conninfo, fetch
from engine.logs import get_logger

log = get_logger(__name__)

TEXT = "left(text_content, 10000)"
"""What is searched of a message."""
SIGNS = "-/_@.:+#"
"""Taken for spaces between words: PostgreSQL reads “order-4711” as a word and a number below zero."""
SPLIT = f"translate({TEXT}, '{SIGNS}', '{' ' * len(SIGNS)}')"
WORDS, PIECES = "et_messages_words", "et_messages_pieces"
NAMES = frozenset({WORDS, PIECES})
SMALL_BYTES = 64 * 2**20
"""A table up to this size gets its indexes at start-up, within seconds."""
LOCK = 0x73776973
"""Of whoever makes the indexes: the letters "swis"."""
UNSETTLED = ("received", "inbound_processing", "queued", "processing", "retry_scheduled")
"""Statuses of messages under way: those are few, and are not indexed, so that an insert and each step pay nothing."""
SETTLED = f"delivery_status NOT IN {UNSETTLED}"
PENDING_KB = 65_536
"""New entries are kept in a list, which every search reads through; at this size whoever writes must merge it."""
_OPTIONS = f"WITH (fastupdate = on, gin_pending_list_limit = {PENDING_KB})"
MERGE_AT_MOST = 4_000
"""Messages whose entries an engine leaves in the list while it is busy: some 14 MB."""
_CREATE = {
    WORDS: f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {WORDS} ON et_messages"
    f" USING gin (to_tsvector('simple', {SPLIT})) {_OPTIONS} WHERE {SETTLED}",
    PIECES: f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {PIECES} ON et_messages"
    f" USING gin (({TEXT}) gin_trgm_ops) {_OPTIONS} WHERE {SETTLED}",
}
_EXTENSION = "CREATE EXTENSION IF NOT EXISTS pg_trgm"

STATE = f"""
SELECT coalesce(bool_or(i.indisvalid) FILTER (WHERE c.relname = '{WORDS}'), false) AS words,
       coalesce(bool_or(i.indisvalid) FILTER (WHERE c.relname = '{PIECES}'), false) AS pieces,
       coalesce(array_agg(c.relname::text) FILTER (WHERE NOT i.indisvalid), '{{}}') AS half_built,
       coalesce(array_agg(c.relname::text) FILTER (WHERE NOT coalesce(
           'gin_pending_list_limit={PENDING_KB}' = ANY (c.reloptions), false)), '{{}}') AS otherwise,
       EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm') AS trigram,
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm')
           AND has_database_privilege(current_database(), 'CREATE') AS installable,
       pg_table_size('et_messages') AS bytes
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE i.indrelid = 'et_messages'::regclass AND c.relname IN ('{WORDS}', '{PIECES}')
"""  # noqa: S608 - built from constants
_PROGRESS = """
SELECT phase, CASE WHEN blocks_total > 0 THEN blocks_done * 100 / blocks_total END AS percent
  FROM pg_stat_progress_create_index WHERE relid = 'et_messages'::regclass LIMIT 1
"""

Way = Literal["pieces", "words", "scan"]
"""How words are looked for: anywhere in a text, at the beginning of its words, or without an index."""


@dataclass(frozen=True, slots=True)
class IndexState:
    """What there is of the indexes, and what could be."""

    words: bool
    pieces: bool
    half_built: list[str]
    otherwise: list[str]
    """Made with other options than ours."""
    trigram: bool
    """The extension is installed."""
    installable: bool
    bytes: int
    """Of the table."""

    @property
    def way(self) -> Way:
        return "pieces" if self.pieces else "words" if self.words else "scan"

    def missing(self) -> list[str]:
        """The statements that make what is missing. Each stands alone; the extension may be refused."""
        statements = [f"DROP INDEX CONCURRENTLY IF EXISTS {name}" for name in self.half_built]
        if not self.words:
            statements.append(_CREATE[WORDS])
        if not self.pieces and (self.trigram or self.installable):
            statements += [*([] if self.trigram else [_EXTENSION]), _CREATE[PIECES]]
        kept = [name for name in self.otherwise if name not in self.half_built]
        statements += [f"ALTER INDEX {name} SET (gin_pending_list_limit = {PENDING_KB})" for name in kept]
        return statements


async def state(connection: Connection) -> IndexState:
    """What there is; one look at the catalogue."""
    row = await (await connection.execute(STATE.encode())).fetchone()
    assert row is not None
    return IndexState(**row)


def state_now(connection: psycopg.Connection[Any]) -> IndexState | None:
    """The same on a plain connection; None while there is no table of messages."""
    there = connection.execute("SELECT to_regclass('et_messages')").fetchone()
    if there is None or there[0] is None:
        return None
    row = connection.execute(STATE.encode()).fetchone()
    assert row is not None
    return IndexState(*row)


def planned(found: IndexState | None) -> list[str]:
    """What is to be made, for a plan that says when."""
    if found is None:
        return [_CREATE[WORDS]]
    if found.bytes <= SMALL_BYTES:
        return found.missing()
    note = "-- while engines run, which are not held up:\n"
    return [note + statement for statement in found.missing()]


def make_small(connection: psycopg.Connection[Any]) -> list[str]:
    """Make what is missing on a small table; returns what was refused. The caller holds the start-up lock."""
    found = state_now(connection)
    if found is None or found.bytes > SMALL_BYTES:
        return []
    refused = []
    for statement in found.missing():
        try:
            connection.execute(statement.encode())
        except psycopg.Error as error:
            refused.append(f"search: {statement.split(' USING')[0]}: {error.diag.message_primary or error}")
            if statement == _EXTENSION:
                break
    return refused


async def make(dsn: str) -> None:
    """Make what is missing, however long it takes; one engine does. Cancelled, it is begun anew another time."""
    async with await psycopg.AsyncConnection.connect(
        conninfo(dsn, "switchboard index"), autocommit=True
    ) as connection:
        cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        got = await cursor.fetchone()
        if got is None or not got[0]:
            return
        await connection.execute("SET statement_timeout = 0")
        row = await (await connection.execute(STATE.encode())).fetchone()
        assert row is not None
        statements = IndexState(*row).missing()
        for statement in statements:
            log.info("search.index", statement=statement)
            try:
                await connection.execute(statement.encode())
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported) as error:
                log.warning("search.index_refused", error=str(error))
                break
        if statements:
            await connection.execute(
                "ANALYZE et_messages"
            )  # the planner knows nothing of an expression before
            log.info("search.index_ready")


class Merging:
    """Has the indexes take in their lists of new entries when an engine has nothing better to do.

    It is the dearest part of keeping them, and no message needs to wait for it.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._merged = 0
        self._allowed = True

    async def look(self, settled: int, *, busy: bool) -> None:
        """`settled`: messages that this engine has ended so far; `busy`: others are on their way."""
        waiting = settled - self._merged
        if not self._allowed or not waiting or (busy and waiting < MERGE_AT_MOST):
            return
        try:
            async with self._pool.connection() as connection:
                await fetch(connection, "merge_search", LOCK, [WORDS, PIECES])
        except psycopg.errors.InsufficientPrivilege:
            self._allowed = False  # whose indexes they are, has autovacuum do it
        self._merged = settled


async def progress(connection: Connection) -> str | None:
    """How far an index that is being made has come, in words; None when none is."""
    row = await (await connection.execute(_PROGRESS.encode())).fetchone()
    if row is None:
        return None
    return f"the index is being made: {row['phase']}" + (f", {row['percent']} %" if row["percent"] else "")
