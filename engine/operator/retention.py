"""Retention: what is only kept for looking back goes after its time, in batches of one short commit each.

Messages, queue rows and turns themselves stay: order, deduplication and cost rest on them.
"""

from __future__ import annotations

from typing import LiteralString

from pydantic import BaseModel

from engine.database.connection import Pool, transaction
from engine.operator.audit import Operator, audit, rows
from engine.settings import Settings

BATCH = 500


class Kept(BaseModel):
    """How many days a kind is kept, and how many rows of it a run let go."""

    kind: str
    days: float
    """0: for ever."""
    gone: int = 0


#: By kind: the statement of a batch. %(days)s is its age, %(batch)s the rows at most.
STATEMENTS: dict[str, LiteralString] = {
    # Of whole prompts, the turn's own and the one in the reply's trace.
    "prompts": """
        WITH old AS (
            SELECT id, reply_message_id FROM (
                SELECT id, reply_message_id, finished_at FROM et_turns
                 WHERE context_prompt IS NOT NULL ORDER BY id LIMIT %(batch)s) t
             WHERE finished_at < now() - make_interval(secs => %(days)s * 86400)),
        traces AS (
            UPDATE et_messages m
               SET raw_payload = jsonb_set(raw_payload, '{ai_trace,context_prompt}', 'null')
              FROM old WHERE m.id = old.reply_message_id AND raw_payload #> '{ai_trace,context_prompt}' IS NOT NULL)
        UPDATE et_turns t SET context_prompt = NULL FROM old WHERE t.id = old.id RETURNING t.id""",
    "quarantine": """
        DELETE FROM et_intake_quarantine WHERE id IN (
            SELECT id FROM et_intake_quarantine WHERE at < now() - make_interval(secs => %(days)s * 86400)
             ORDER BY id LIMIT %(batch)s) RETURNING id""",
    "incidents": """
        DELETE FROM et_incidents WHERE id IN (
            SELECT id FROM et_incidents WHERE resolved_at < now() - make_interval(secs => %(days)s * 86400)
             ORDER BY id LIMIT %(batch)s) RETURNING id""",
    "engines": """
        DELETE FROM et_engines WHERE name IN (
            SELECT name FROM et_engines WHERE heartbeat_at < now() - make_interval(secs => %(days)s * 86400)
             ORDER BY heartbeat_at LIMIT %(batch)s) RETURNING name""",
    "audit": """
        DELETE FROM et_audit_log WHERE id IN (
            SELECT id FROM (SELECT id, at FROM et_audit_log ORDER BY id LIMIT %(batch)s) a
             WHERE at < now() - make_interval(secs => %(days)s * 86400)) RETURNING id""",
}


def kinds(settings: Settings) -> list[Kept]:
    """Every kind with the days it is kept."""
    return [Kept(kind=kind, days=getattr(settings, f"keep_{kind}_days")) for kind in STATEMENTS]


async def retain(pool: Pool, operator: Operator, settings: Settings) -> list[Kept]:
    """Let go of what is past its time. The audit log tells how much each batch took; nothing when nothing went.

    Several may run at once: a row goes once. Raises ReadOnly.
    """
    operator.may_act()
    return [
        kept.model_copy(update={"gone": await _let_go(pool, operator, kept)}) if kept.days > 0 else kept
        for kept in kinds(settings)
    ]


async def _let_go(pool: Pool, operator: Operator, kept: Kept) -> int:
    """All of a kind that is past its time, each batch with its row of the log; returns how many went."""
    gone = 0
    while True:
        async with transaction(pool) as connection:
            if kept.kind == "audit":
                await rows(connection, "SET LOCAL switchboard.retention = 'on'")
            cursor = await connection.execute(STATEMENTS[kept.kind], {"days": kept.days, "batch": BATCH})
            batch = len(await cursor.fetchall())
            if not batch:
                return gone
            await audit(connection, operator, "retention", "database", None, {kept.kind: batch})
        gone += batch
