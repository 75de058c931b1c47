"""An invented past as rows, and how they get into a fresh database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from engine.database.connection import to_json
from engine.demo.far_end_replies import BALANCE_USD
from engine.demo.personas import Customer
from engine.runtime.context_builder import Said

CHANNEL = "simulator"
ENGINE = "simulated-past"

Row = dict[str, Any]


@dataclass(eq=False)
class PastThread:
    """A conversation with one customer, and its lead."""

    customer: Customer
    opened_at: datetime
    last_at: datetime
    """When something last happened in it."""
    owner: str = "ai"
    operator: str | None = None
    owner_since: datetime | None = None
    human_until: datetime | None = None
    opted_out_at: datetime | None = None
    epoch: int = 0
    claims: int = 0
    said: list[Said] = field(default_factory=list)
    """Newest first."""
    id: int = 0
    """The lead's as well."""


@dataclass(eq=False)
class PastMessage:
    """One message; ids are given when all are known, so that they rise with time."""

    at: datetime
    thread: PastThread
    outbound: bool
    text: str
    row: Row
    """Columns besides these."""
    epoch: int = 0
    """Of the thread, then."""
    answers: PastMessage | None = None
    head: PastMessage | None = None
    """Of a burst's later messages: its first one."""
    id: int = 0


@dataclass(eq=False)
class PastTurn:
    """One attempt to answer."""

    message: PastMessage
    reply: PastMessage | None
    row: Row


@dataclass
class Past:
    """All there is to store."""

    threads: list[PastThread] = field(default_factory=list)
    messages: list[PastMessage] = field(default_factory=list)
    turns: list[PastTurn] = field(default_factory=list)


def store(connection: psycopg.Connection[Any], past: Past) -> None:
    """Write it all, in one transaction. Needs a superuser and empty tables."""
    past.threads.sort(key=lambda thread: thread.opened_at)
    past.messages.sort(key=lambda message: message.at)
    past.turns.sort(key=lambda turn: turn.row["finished_at"])
    for number, thread in enumerate(past.threads, 1):
        thread.id = number
    for number, message in enumerate(past.messages, 1):
        message.id = number
    inbound = [message for message in past.messages if not message.outbound]
    outbound = [message for message in past.messages if message.outbound]
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        _insert(connection, "et_leads", [_lead(thread) for thread in past.threads])
        _insert(connection, "et_lead_addresses", [_address(thread) for thread in past.threads])
        _insert(connection, "et_threads", [_thread(thread, past.messages) for thread in past.threads])
        _insert(connection, "et_messages", [_message(message) for message in inbound])
        _insert(connection, "et_messages", [_message(message) for message in outbound])
        _insert(connection, "et_outbound_queue", [_queue_row(message) for message in outbound])
        _insert(connection, "et_turns", [_turn(turn) for turn in past.turns])
        connection.execute(_USAGE)
        connection.execute(_BALANCES, [BALANCE_USD])
    for table in ("et_leads", "et_threads", "et_messages"):
        connection.execute(
            sql.SQL("SELECT setval(pg_get_serial_sequence({}, 'id'), (SELECT max(id) FROM {}))").format(
                sql.Literal(table), sql.Identifier(table)
            )
        )
    connection.execute("ANALYZE")


_USAGE = """
INSERT INTO et_usage_hourly (hour, tenant_id, agent_id, task, provider, model, turns, unpriced, prompt_tokens,
                             completion_tokens, cost_usd)
SELECT date_trunc('hour', finished_at), tenant_id, agent_id, task, provider, model, count(*),
       count(*) FILTER (WHERE cost_usd IS NULL), sum(prompt_tokens), sum(completion_tokens),
       coalesce(sum(cost_usd), 0)
  FROM et_turns WHERE provider IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6
"""


#: What the account held at the end of each hour: what it holds now, and what was spent since.
_BALANCES = """
INSERT INTO et_provider_balances (provider, hour, asked_at, state, balance_usd, told_at)
SELECT 'uniapi', hour, hour + interval '59 minutes', 'told', %s + spent, hour + interval '59 minutes'
  FROM (SELECT hour, coalesce(sum(sum(cost_usd)) OVER (ORDER BY hour DESC ROWS BETWEEN UNBOUNDED PRECEDING
                                                             AND 1 PRECEDING), 0) AS spent
          FROM et_usage_hourly
         WHERE provider = 'uniapi' AND hour > now() - interval '8 days'
         GROUP BY hour) h
 WHERE hour < now() - interval '80 minutes'
"""


def _insert(connection: psycopg.Connection[Any], table: str, rows: Sequence[Row]) -> None:
    """Rows of the same columns; the others get their defaults."""
    if not rows:
        return
    columns = sql.SQL(", ").join(map(sql.Identifier, rows[0]))
    query = "INSERT INTO {} ({}) SELECT {} FROM jsonb_populate_recordset(NULL::{}, %s)"
    name = sql.Identifier(table)
    connection.execute(sql.SQL(query).format(name, columns, columns, name), [Jsonb(rows, dumps=to_json)])


def _lead(thread: PastThread) -> Row:
    return {
        "id": thread.id,
        "tenant_id": 1,
        "name": thread.customer.name,
        "opted_out_at": thread.opted_out_at,
        "created_at": thread.opened_at,
    }


def _address(thread: PastThread) -> Row:
    return {
        "tenant_id": 1,
        "channel": CHANNEL,
        "address": thread.customer.address,
        "lead_id": thread.id,
        "created_at": thread.opened_at,
    }


def _thread(thread: PastThread, messages: Sequence[PastMessage]) -> Row:
    own = [message for message in messages if message.thread is thread]
    return {
        "id": thread.id,
        "tenant_id": 1,
        "lead_id": thread.id,
        "channel": CHANNEL,
        "address": thread.customer.address,
        "owner": thread.owner,
        "operator": thread.operator,
        "owner_since": thread.owner_since,
        "human_until": thread.human_until,
        "epoch": thread.epoch,
        "claim_token": thread.claims,
        "last_inbound_at": max(message.at for message in own if not message.outbound),
        "last_message_at": max(message.at for message in own),
        "created_at": thread.opened_at,
    }


def _message(message: PastMessage) -> Row:
    row = {
        "id": message.id,
        "tenant_id": 1,
        "lead_id": message.thread.id,
        "thread_id": message.thread.id,
        "channel": CHANNEL,
        "direction": "outbound" if message.outbound else "inbound",
        "text_content": message.text,
        "created_at": message.at,
        **message.row,
    }
    if message.outbound:
        row["in_reply_to"] = message.answers.id if message.answers else None
        row["provider_message_id"] = f"past-out-{message.id}"
    else:
        row["turn_head_id"] = message.head.id if message.head else None
        row["provider_message_id"] = f"past-in-{message.id}"
    return row


def _queue_row(message: PastMessage) -> Row:
    return {
        "message_id": message.id,
        "tenant_id": 1,
        "thread_id": message.thread.id,
        "channel": CHANNEL,
        "author": message.row["author"],
        "thread_epoch": message.epoch,
        "status": "sent",
        "outcome": "confirmed",
        "attempts": 1,
        "claim_token": 1,
        "claimed_by": ENGINE,
        "provider_message_id": f"past-out-{message.id}",
        "next_attempt_at": message.at,
        "created_at": message.at,
        "updated_at": message.row["sent_at"],
        "send_started_at": message.row["send_started_at"],
        "finished_at": message.row["sent_at"],
    }


def _turn(turn: PastTurn) -> Row:
    return {
        "tenant_id": 1,
        "thread_id": turn.message.thread.id,
        "message_id": turn.message.id,
        "reply_message_id": turn.reply.id if turn.reply else None,
        "engine": ENGINE,
        "simulated": True,
        **turn.row,
    }
