"""Bodies of the Cloud API's webhooks: messages, statuses, and words from the WhatsApp Business app."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from engine.channels.base import Inbound, Parsed, Receipt, ReceiptStatus, Stopped
from engine.channels.webhook import (
    Collector,
    Unreadable,
    identifier,
    items,
    mapping,
    moment,
    positive,
    read_json,
    words,
)
from engine.channels.whatsapp_cloud_stops import stop_of
from engine.model import Blocker
from engine.text import clean_json

_STATUSES = {
    "sent": ReceiptStatus.SENT,
    "delivered": ReceiptStatus.DELIVERED,
    "read": ReceiptStatus.READ,
    "played": ReceiptStatus.READ,
    "failed": ReceiptStatus.FAILED,
}
WINDOW_CLOSED = 131047
"""The code of a message refused since the customer last wrote more than 24 hours ago."""
_IGNORED_TYPES = frozenset({"reaction", "system", "request_welcome"})
_MEDIA = frozenset({"image", "audio", "video", "document", "sticker"})


def parse(raw: bytes, numbers: Mapping[str, str]) -> Parsed:
    """Everything in an authentic body, of all its arrays; `numbers` maps phone number ids to accounts."""
    found = Collector()
    try:
        body = read_json(raw)
    except ValueError:
        found.quarantine("not JSON", raw)
        return found.parsed()
    entries = items(mapping(body).get("entry"))
    if not entries:
        found.quarantine("no list of entries", body)
    for entry in entries:
        if not found.each_in(mapping(entry), "changes", partial(_read_change, found, numbers)):
            found.quarantine("an entry without changes", entry)
    return found.parsed()


def _read_change(found: Collector, numbers: Mapping[str, str], change: Any) -> None:
    if change["field"] not in {"messages", "smb_message_echoes"}:
        found.ignored += 1
        return
    value = change["value"]
    account = numbers.get(identifier(value["metadata"]["phone_number_id"]))
    if account is None:
        raise Unreadable("for a phone number that is not configured")
    contacts = [mapping(contact) for contact in items(value.get("contacts"))]
    parts = {
        "messages": partial(_read_message, found, account, contacts),
        "message_echoes": partial(_read_echo, found, account),
        "statuses": partial(_read_status, found, account),
        "errors": partial(_read_error, found, account),
    }
    if not sum(found.each_in(value, name, read) for name, read in parts.items()):
        raise Unreadable("a change that holds nothing known")


def _read_error(found: Collector, account: str, error: Any) -> None:
    found.quarantine("WhatsApp reports an error", error)
    _note_stop(found, account, error, None)


def _read_message(found: Collector, account: str, contacts: list[dict[str, Any]], message: Any) -> None:
    if not isinstance(message, dict):
        raise Unreadable("a message that is no object")
    if message.get("type") in _IGNORED_TYPES:
        found.ignored += 1
        return
    address = identifier(message.get("from"))
    contact = next((one for one in contacts if identifier(one.get("wa_id")) == address), {})
    alias = identifier(contact.get("user_id"))
    found.inbounds.append(
        replace(
            _inbound(account, address, message),
            aliases=(alias,) if alias and alias != address else (),
            profile_name=words(mapping(contact.get("profile")).get("name")) or None,
        )
    )


def _read_echo(found: Collector, account: str, message: Any) -> None:
    """A message that a person sent from the WhatsApp Business app on the same number."""
    if not isinstance(message, dict):
        raise Unreadable("an echo that is no object")
    if message.get("type") in _IGNORED_TYPES:
        found.ignored += 1
        return
    inbound = _inbound(account, identifier(message.get("to")), message)
    found.inbounds.append(replace(inbound, from_me=True, by_api=False))


def _inbound(account: str, address: str, message: dict[str, Any]) -> Inbound:
    provider_id = identifier(message.get("id"))
    if not address or not provider_id:
        raise Unreadable("a message without sender or id")
    kind, text = _content(message)
    return Inbound(
        account=account,
        address=address,
        provider_message_id=provider_id,
        text=text,
        provider_timestamp=moment(message.get("timestamp")),
        kind=kind,
        reply_to=identifier(mapping(message.get("context")).get("id")) or None,
        raw=clean_json(message) | {"from": address},
    )


def _content(message: dict[str, Any]) -> tuple[str, str]:
    """A message's kind and text."""
    kind = words(message.get("type")) or "unsupported"
    part = mapping(message.get(kind))
    if kind == "text":
        return "text", words(part.get("body"))
    if kind == "button":
        return "text", words(part.get("text")) or words(part.get("payload"))
    if kind == "interactive":
        answer = mapping(part.get(words(part.get("type"))))
        return "text", words(answer.get("title")) or words(answer.get("body"))
    if kind in _MEDIA:
        return kind, words(part.get("caption")) or words(part.get("filename"))
    if kind == "location":
        return kind, ", ".join(filter(None, (words(part.get("name")), words(part.get("address")))))
    if kind == "contacts":
        names = (mapping(mapping(one).get("name")).get("formatted_name") for one in items(message.get(kind)))
        return "contact", ", ".join(filter(None, map(words, names)))
    if kind == "order":
        return kind, words(part.get("text"))
    return "unsupported", ""


def _read_status(found: Collector, account: str, status: Any) -> None:
    provider_id = identifier(status["id"])
    if not provider_id:
        raise Unreadable("a status without an id")
    known = _STATUSES.get(status["status"])
    if known is None:
        found.ignored += 1
        return
    error = mapping(next(iter(items(status.get("errors"))), None))
    if known is ReceiptStatus.FAILED:
        _note_stop(found, account, error, status.get("timestamp"))
    text = words(mapping(error.get("error_data")).get("details")) or words(error.get("message"))
    found.receipts.append(
        Receipt(
            account=account,
            provider_message_id=provider_id,
            message_id=positive(status.get("biz_opaque_callback_data")),
            status=known,
            at=moment(status.get("timestamp")),
            error_code=identifier(error.get("code")) or None,
            error_text=text or words(error.get("title")) or None,
            needs_human=error.get("code") == WINDOW_CLOSED,
        )
    )


def _note_stop(found: Collector, account: str, error: Any, at: Any) -> None:
    """An error that is not about one message but stops the account."""
    stop = stop_of(mapping(error).get("code"))
    if stop is not None:
        remedy = f"{stop.remedy} Then send again what has failed, in the Outbound area."
        blocker = Blocker(
            code=f"channel.{stop.code}", what=stop.what, where=f"whatsapp_cloud/{account}", remedy=remedy
        )
        found.stops.append(Stopped(blocker, moment(at)))
