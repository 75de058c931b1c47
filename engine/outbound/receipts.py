"""Receipts: what the far end says became of a message, whenever and in whatever order it says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.channels.base import Receipt
from engine.database.connection import Connection, Pool, fetch, to_json, transaction


async def apply_receipts(connection: Connection, channel: str, receipts: Sequence[Receipt]) -> int:
    """Move messages forward by receipts; one whose send is not recorded yet is kept for later.

    Returns how many messages were found. Settles sends whose outcome was unknown.
    """
    return await _apply(
        connection,
        [
            {
                "channel": channel,
                "account": receipt.account,
                "provider_message_id": receipt.provider_message_id,
                "message_id": receipt.message_id,
                "status": receipt.status,
                "happened_at": receipt.at,
                "hand_over": receipt.needs_human,
                "error": " ".join(filter(None, (receipt.error_code, receipt.error_text))) or None,
            }
            for receipt in receipts
        ],
    )


async def apply_pending_receipts(pool: Pool) -> int:
    """Apply receipts that came before their sends were recorded; returns how many messages moved."""
    async with transaction(pool) as connection:
        rows = await fetch(connection, "take_pending_receipts")
        return await _apply(connection, [dict(row) for row in rows]) if rows else 0


async def _apply(connection: Connection, receipts: list[dict[str, Any]]) -> int:
    return len(await fetch(connection, "apply_receipts", to_json(receipts)))
