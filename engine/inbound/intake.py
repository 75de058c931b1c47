"""T0: what a channel's far end tells us becomes rows; the caller commits before the far end hears "200"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.channels.base import Edit, Inbound
from engine.database.connection import Connection, fetch, to_json


async def store_inbound(
    connection: Connection, *, tenant_id: int, channel: str, messages: Sequence[Inbound]
) -> int:
    """Store customers' messages in the caller's transaction; returns how many were new.

    Order within `messages` is kept. A redelivery of any age is recognised by its provider id.
    """
    for message in messages:
        if message.aliases:
            addresses = list(dict.fromkeys((message.address, *message.aliases)))
            await fetch(connection, "link_addresses", tenant_id, channel, addresses, message.profile_name)
    rows = [_row(place, message) for place, message in enumerate(messages)]
    return len(await fetch(connection, "insert_inbound", tenant_id, channel, to_json(rows)))


async def apply_edits(connection: Connection, *, tenant_id: int, channel: str, edits: Sequence[Edit]) -> int:
    """Put customers' new words in place of the old ones, which stay in `raw_payload`; returns how many.

    A message that waits is answered as it reads now; one that was answered already is not answered again.
    """
    rows = [
        {"account": e.account, "provider_message_id": e.provider_message_id, "text": e.text, "at": e.at}
        for e in edits
    ]
    return len(await fetch(connection, "apply_edits", tenant_id, channel, to_json(rows)))


def _row(place: int, message: Inbound) -> dict[str, Any]:
    payload = {**message.raw, "from": message.address}
    if message.kind != "text":
        payload["kind"] = message.kind
    else:
        payload.pop("kind", None)
    if message.profile_name:
        payload["name"] = message.profile_name
    return {
        "place": place,
        "account": message.account,
        "text": message.text,
        "raw_payload": payload,
        "provider_message_id": message.provider_message_id,
        "provider_timestamp": message.provider_timestamp,
    }
