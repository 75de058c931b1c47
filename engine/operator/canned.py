"""Canned replies: texts kept under shortcuts, by tenant."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Pool
from engine.operator.audit import BadInput, NotFound, Operator, acting, audit, one, rows, storable_text
from engine.operator.reply import REPLY_LIMIT

_SHORTCUT = re.compile(r"[^\W_][\w-]{0,39}")
_SELECT = "SELECT id, tenant_id, shortcut, text_content AS text FROM et_canned_replies WHERE tenant_id = %s"


class CannedReply(BaseModel):
    """A text kept under a shortcut."""

    model_config = ConfigDict(frozen=True)

    id: int
    tenant_id: int
    shortcut: str
    text: str


async def list_canned(pool: Pool, tenant_id: int) -> list[CannedReply]:
    """The tenant's canned replies by shortcut."""
    async with pool.connection() as connection:
        found = await rows(connection, f"{_SELECT} ORDER BY shortcut", tenant_id)
    return [CannedReply(**row) for row in found]


async def save_canned(
    pool: Pool, operator: Operator, tenant_id: int, shortcut: str, text: str
) -> CannedReply:
    """Keep a text under a shortcut, in place of an earlier one. Raises BadInput, NotFound, ReadOnly."""
    text = storable_text(text, "The canned reply", REPLY_LIMIT)
    shortcut = shortcut.strip().removeprefix("/")
    if not _SHORTCUT.fullmatch(shortcut):
        raise BadInput(
            f"{shortcut[:60]!r} is not a shortcut.",
            "Use up to 40 letters, digits, - and _, and begin with a letter or digit.",
        )
    async with acting(pool, operator) as connection:
        await one(
            connection, f"Tenant {tenant_id}", "SELECT id FROM et_tenants WHERE id = %s FOR UPDATE", tenant_id
        )
        before = await rows(connection, f"{_SELECT} AND shortcut = %s", tenant_id, shortcut)
        saved = await rows(
            connection,
            """INSERT INTO et_canned_replies (tenant_id, shortcut, text_content) VALUES (%s, %s, %s)
                   ON CONFLICT (tenant_id, shortcut) DO UPDATE SET text_content = excluded.text_content
               RETURNING id, tenant_id, shortcut, text_content AS text""",
            tenant_id,
            shortcut,
            text,
        )
        await audit(
            connection,
            operator,
            "canned.save",
            f"tenant:{tenant_id}",
            {"shortcut": shortcut, "text": before[0]["text"]} if before else None,
            {"shortcut": shortcut, "text": text},
        )
        return CannedReply(**saved[0])


async def delete_canned(pool: Pool, operator: Operator, tenant_id: int, shortcut: str) -> None:
    """Remove a canned reply. Raises NotFound, ReadOnly."""
    async with acting(pool, operator) as connection:
        gone = await rows(
            connection,
            """DELETE FROM et_canned_replies WHERE tenant_id = %s AND shortcut = %s
               RETURNING shortcut, text_content AS text""",
            tenant_id,
            shortcut.strip().removeprefix("/"),
        )
        if not gone:
            raise NotFound(f"There is no canned reply {shortcut[:60]!r}.", "Look at the list again.")
        await audit(
            connection,
            operator,
            "canned.delete",
            f"tenant:{tenant_id}",
            {"shortcut": gone[0]["shortcut"], "text": gone[0]["text"]},
            None,
        )
