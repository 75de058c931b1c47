"""Bodies of webhooks: whatever is in an authentic one is read, ignored as known, or kept aside. Nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

from engine.channels.base import Channel, Parsed
from engine.channels.webhook import BODY_LIMIT, ID_LIMIT
from engine.database.connection import to_json
from engine.inbound import intake
from engine.outbound import receipts
from tests.channels.cases import CASES, SECRET, Case, recorded
from tests.fuzz.targets.target import Target, storable, texts_in
from tests.support.far_ends import evolution, whatsapp_cloud

HIGHEST = 2**63


def seeds(name: str) -> list[bytes]:
    """The recorded bodies of a channel, and one that quotes the key where nobody would expect it."""
    found = [body.raw for body in recorded() if body.channel == name]
    if name == "evolution":
        message = {
            "key": {"remoteJid": "49151@s.whatsapp.net", "id": "A"},
            "message": {"conversation": evolution.API_KEY},
        }
        body = {"event": "messages.upsert", "instance": evolution.INSTANCE, "data": message}
        found.append(json.dumps(body).encode())
    return found


def check(case: Case, channel: Channel, raw: bytes) -> None:
    found = channel.parse_webhook("default", case.sign(raw, SECRET), raw)
    storable([found.inbounds, found.edits, found.receipts, found.quarantined, found.session_state])
    if case.name == "evolution":  # it puts its key into its bodies
        assert not any(evolution.API_KEY in text for text in texts_in(found)), "a key is kept"
    assert accounted(found) >= PARTS.get(case.name, _one)(raw), (
        "something is neither read, ignored nor kept aside"
    )
    for kept in found.quarantined:
        assert kept.why
        assert len(kept.body) <= BODY_LIMIT
    check_rows(found)


def accounted(found: Parsed) -> int:
    """How many things were read, ignored or kept aside."""
    read = len(found.inbounds) + len(found.edits) + len(found.receipts) + len(found.stops)
    return read + len(found.quarantined) + found.ignored + (found.session_state is not None)


def check_rows(found: Parsed) -> None:
    """What is handed to the database fits its columns and is JSON."""
    for inbound in found.inbounds:
        assert 0 < len(inbound.address) <= ID_LIMIT
        assert 0 < len(inbound.provider_message_id) <= ID_LIMIT
        assert inbound.raw["from"] == inbound.address
    sent: list[Any] = []

    async def fetch(_connection: object, _query: str, *given: Any) -> list[Any]:
        sent.extend(given)
        return []

    with patch.object(receipts, "fetch", fetch):
        _run(receipts.apply_receipts(None, "any", found.receipts))  # type: ignore[arg-type]
    sent.append(to_json([intake._row(place, one) for place, one in enumerate(found.inbounds)]))
    for text in sent:
        assert "\\u0000" not in text.replace("\\\\", "")
        json.loads(text)
    for receipt in found.receipts:
        assert receipt.provider_message_id
        assert receipt.message_id is None or 0 < receipt.message_id < HIGHEST


def _run(coroutine: Any) -> None:
    """Runs what never really waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")


# How many things a body holds, counted by somebody who knows only the outline.


def _one(_raw: bytes) -> int:
    return 1


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _items(value: Any) -> int:
    """An array's items; something else in its place is one thing, and what is not there is none."""
    return len(value) if isinstance(value, list) else int(value is not None)


def _simulated(raw: bytes) -> int:
    body = _parsed(raw)
    if not isinstance(body, dict):
        return 1
    return max(1, _items(body.get("messages")) + _items(body.get("receipts")))


def _cloud(raw: bytes) -> int:
    body = _parsed(raw)
    if not isinstance(body, dict) or not isinstance(body.get("entry"), list):
        return 1
    return max(1, sum(map(_cloud_entry, body["entry"])))


def _cloud_entry(entry: Any) -> int:
    if not isinstance(entry, dict) or not isinstance(entry.get("changes"), list):
        return 1
    return max(1, sum(map(_cloud_change, entry["changes"])))


def _cloud_change(change: Any) -> int:
    value = change.get("value") if isinstance(change, dict) else None
    if not isinstance(value, dict) or change.get("field") not in ("messages", "smb_message_echoes"):
        return 1
    if (
        not isinstance(value.get("metadata"), dict)
        or value["metadata"].get("phone_number_id") != whatsapp_cloud.NUMBER_ID
    ):
        return 1
    arrays = ("messages", "message_echoes", "statuses", "errors")
    return max(1, sum(_items(value.get(name)) for name in arrays))


PARTS: dict[str, Callable[[bytes], int]] = {"simulator": _simulated, "whatsapp_cloud": _cloud}


def _target(case: Case) -> Target:
    channel = case.build("http://127.0.0.1:9")  # it only parses
    return Target(f"webhook-{case.name}", partial(check, case, channel), partial(seeds, case.name))


TARGETS = [_target(case) for case in CASES]
