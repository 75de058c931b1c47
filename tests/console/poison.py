"""Hostile text in every column that holds words, of every table, the next new one too."""

from __future__ import annotations

from typing import Any, LiteralString, cast

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

HOSTILE = (
    "\x1b[7777hESC \x1b]52;c;aG9zdGlsZQ==\x07OSC \x1bP$q\x1b\\DCS \x9b7777lC1 \x1b[31;1;7777mSGR "
    "\u202egnp.elif\u202c \u2066iso \u200bzero [@click=app.bell]markup[/b] [red]x "
    "Z\u0335\u0336\u0337\u0338\u0321\u0322\u0323algo 👨‍👩‍👧 1️⃣ 🏳️‍🌈 \x08\x0c"
)
"""One of everything a text can do to a terminal."""
HUGE = (HOSTILE * (1_000_000 // len(HOSTILE) + 1))[:1_000_000]

ROWS = (
    "INSERT INTO et_notes (thread_id, author, text_content) SELECT id, '', '' FROM et_threads",
    "INSERT INTO et_canned_replies (tenant_id, shortcut, text_content) VALUES (1, '', '')",
    "INSERT INTO et_platform_settings (key, value, updated_by) VALUES ('', '0', '')",
    "INSERT INTO et_audit_log (actor, origin, act, subject, before, after, note) VALUES ('', '', '', '', '0', '0', '')",
    "INSERT INTO et_incidents (rule, subject, what) VALUES ('', '', '')",
    "INSERT INTO et_alert_deliveries (incident_id, target, event)"
    " SELECT id, 'webhook', 'raised' FROM et_incidents",
    "INSERT INTO et_provider_balances (provider, hour, state, problem) VALUES ('', now(), '', '')",
    "INSERT INTO et_retention (kind, ran_at, ran_by, gone) VALUES ('', now(), '', 1)",
    "INSERT INTO et_intake_quarantine (channel, why, body) VALUES ('', '', '')",
    "INSERT INTO et_pending_receipts (channel, provider_message_id, status, at) VALUES ('', '', 'read', now())",
    "INSERT INTO et_channel_accounts (channel, account, state, detail) VALUES ('', '', '', '')",
    "INSERT INTO et_what_ifs (agent_id, version, filter, note, started_by, state)"
    " VALUES (1, 1, '', '', '', 'paused')",
    "INSERT INTO et_what_if_items (what_if_id, message_id, problem)"
    " SELECT w.id, m.id, '' FROM et_what_ifs w, et_messages m WHERE m.direction = 'inbound'",
)
"""For the tables that a seeded database leaves empty."""

OURS = frozenset(
    {
        *("et_messages.direction", "et_messages.delivery_status", "et_outbound_queue.status"),
        *("et_outbound_queue.outcome", "et_threads.owner", "et_threads.mode", "et_agents.mode"),
        *("et_turns.kind", "et_turns.outcome", "et_what_ifs.state", "et_what_if_items.outcome"),
        *("et_alert_deliveries.event", "et_alert_deliveries.status", "et_pending_receipts.status"),
    }
)
"""Words of a closed list that the database itself refuses to widen."""

_TRACE = dict.fromkeys(("task", "provider", "model", "context_prompt", "recorded_at"), HOSTILE)
_CALL = dict.fromkeys(("provider", "model", "failure", "error"), HOSTILE)
JSON: dict[str, Any] = {
    "et_messages.raw_payload": {
        "from": HOSTILE,
        "kind": HOSTILE,
        "ai_trace": _TRACE | {"usage": {HOSTILE: HOSTILE}},
        HOSTILE: [HOSTILE],
    },
    "et_turns.attempts": [
        _CALL | {"ok": False, "latency_ms": 3, "started_at": "2026-03-14T14:00:00+00:00"},
    ],
    "et_turns.verdicts": [dict.fromkeys(("rule", "stage", "detail"), HOSTILE) | {"verdict": "block"}],
    "et_threads.labels": [HOSTILE],
    "et_outbound_queue.other_provider_ids": [HOSTILE],
}
"""What is in JSON of a shape that is read; the rest takes `{HOSTILE: HOSTILE}`."""
SHAPED = frozenset(
    {
        "et_engines.snapshot",
        "et_turns.context",
        *("et_schema_runs." + c for c in ("steps", "blockers", "drift")),
    }
)
"""Written by an engine alone, and read in full."""


def columns(connection: psycopg.Connection[Any], kind: str) -> list[tuple[str, str]]:
    """Table and name of every column of a type."""
    return connection.execute(
        "SELECT table_name, column_name FROM information_schema.columns"
        r" WHERE table_schema = 'public' AND table_name LIKE 'et\_%%' AND data_type = %s ORDER BY 1, 2",
        [kind],
    ).fetchall()


def poison(dsn: str, *, huge: bool = False) -> None:
    """Every text of every row becomes hostile; with `huge`, the newest message, draft and prompt are 1 MB."""
    with psycopg.connect(dsn, autocommit=True) as connection, connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        for statement in ROWS:
            connection.execute(statement.encode())
        for table, column in columns(connection, "text"):
            if f"{table}.{column}" not in OURS:
                _spoil(connection, table, column)
        for table, column in columns(connection, "jsonb"):
            name = f"{table}.{column}"
            if name not in SHAPED:
                value = Jsonb(JSON.get(name, {HOSTILE: HOSTILE}))
                _execute(connection, "UPDATE {} SET {} = %s", table, column, value)
        connection.execute(
            "UPDATE et_engines SET snapshot ="
            " jsonb_set(jsonb_set(snapshot, '{llm,0,detail}', %(j)s), '{llm,0,name}', %(j)s)",
            {"j": Jsonb(HOSTILE)},
        )
        if huge:
            for where in (
                "et_agent_versions SET prompt = %s",
                "et_messages SET text_content = %s WHERE id IN (SELECT max(id) FROM et_messages GROUP BY thread_id)",
                "et_turns SET draft = %s WHERE id IN (SELECT max(id) FROM et_turns)",
                "et_notes SET text_content = %s WHERE id IN (SELECT max(id) FROM et_notes)",
                "et_canned_replies SET text_content = %s",
                "et_intake_quarantine SET body = %s",
            ):
                connection.execute(f"UPDATE {where}".encode(), [HUGE])


def _spoil(connection: psycopg.Connection[Any], table: str, column: str) -> None:
    """In every row; where a column may hold words only beside others (a holder its lease), in those that do."""
    change = "UPDATE {} SET {} = %s || ctid::text"
    try:
        with connection.transaction():
            _execute(connection, change, table, column, HOSTILE)
    except psycopg.errors.CheckViolation:
        _execute(connection, change + " WHERE {} IS NOT NULL", table, column, HOSTILE)


def _execute(
    connection: psycopg.Connection[Any], statement: str, table: str, column: str, value: object
) -> None:
    names = [sql.Identifier(table), sql.Identifier(column), sql.Identifier(column)]
    connection.execute(sql.SQL(cast("LiteralString", statement)).format(*names), [value])
