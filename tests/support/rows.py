"""Rows put straight into a state, past the triggers, for tests that try what may happen next."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import DictRow, dict_row

from engine.model import InboundStatus, OutboundStatus, Outcome

Connection = psycopg.Connection[DictRow]


def connect(dsn: str) -> Connection:
    """An autocommit connection that gives rows as dicts."""
    return psycopg.connect(dsn, autocommit=True, row_factory=dict_row)


def insert(connection: Connection, table: str, **columns: Any) -> int:
    """A row with these columns; returns its id."""
    names = list(columns)
    query = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.SQL(", ").join(sql.Placeholder() * len(names)),
    )
    row = connection.execute(query, list(columns.values())).fetchone()
    assert row is not None
    return int(row["id"])


def update(connection: Connection, table: str, row_id: int, **columns: Any) -> int:
    """Set these columns of a row; returns how many rows that hit."""
    assignments = [sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in columns]
    query = sql.SQL("UPDATE {} SET {} WHERE id = {}").format(
        sql.Identifier(table), sql.SQL(", ").join(assignments), sql.Placeholder()
    )
    return connection.execute(query, [*columns.values(), row_id]).rowcount


def get(connection: Connection, table: str, row_id: int) -> DictRow:
    """A whole row."""
    query = sql.SQL("SELECT * FROM {} WHERE id = %s").format(sql.Identifier(table))
    row = connection.execute(query, [row_id]).fetchone()
    assert row is not None
    return row


class Planter:
    """Plants rows in any state; only CHECK constraints and unique keys are in force while it does."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def plant(self, table: str, **columns: Any) -> int:
        """A row as it is told, whatever the triggers would say."""
        with self.connection.transaction():
            self.connection.execute("SET LOCAL session_replication_role = replica")
            row_id = insert(self.connection, table, **columns)
            self.connection.execute("SET LOCAL session_replication_role = DEFAULT")
        return row_id

    def thread(self, **columns: Any) -> int:
        return self.plant("et_threads", **{"tenant_id": 1, "channel": "simulator", **columns})

    def inbound(self, status: InboundStatus, **columns: Any) -> int:
        """An inbound message in that status, with the lease it then has."""
        given = {"tenant_id": 1, "channel": "simulator", "direction": "inbound", "text_content": "hello"}
        given |= {"delivery_status": status, "lease_until": lease(status is InboundStatus.PROCESSING)}
        return self.plant("et_messages", **given | columns)

    def reply(self, head_id: int | None, status: str = "queued", **columns: Any) -> int:
        """A reply of the AI, without a queue row."""
        given = {"tenant_id": 1, "channel": "simulator", "direction": "outbound", "text_content": "hi"}
        given |= {"delivery_status": status, "author": "ai", "in_reply_to": head_id}
        return self.plant("et_messages", **given | columns)

    def send(self, message_id: int, status: OutboundStatus, **columns: Any) -> int:
        """A queue row in that status, with the lease it then has."""
        given = {"message_id": message_id, "tenant_id": 1, "channel": "simulator", "author": "ai"}
        given |= {"status": status, "lease_until": lease(status is OutboundStatus.PROCESSING)}
        if status is OutboundStatus.FAILED:
            given["outcome"] = Outcome.UNKNOWN
        return self.plant("et_outbound_queue", **given | columns)


def lease(held: bool) -> str | None:
    """A lease of a row that is held, which ends in the far future."""
    return "2999-01-01" if held else None
