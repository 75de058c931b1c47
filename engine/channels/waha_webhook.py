"""Bodies of WAHA's webhooks: messages, acknowledgements, the session's state."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from engine.channels import jid
from engine.channels.base import Edit, Inbound, Parsed, Receipt, ReceiptStatus
from engine.channels.webhook import (
    Collector,
    Unreadable,
    identifier,
    mapping,
    moment,
    read_json,
    words,
)
from engine.text import clean_json

_ACKS = {
    -1: ReceiptStatus.FAILED,
    1: ReceiptStatus.SENT,
    2: ReceiptStatus.DELIVERED,
    3: ReceiptStatus.READ,
    4: ReceiptStatus.READ,
}
_NOISE = frozenset(
    {"e2e_notification", "notification", "notification_template", "gp2", "call_log", "protocol"}
)
"""Kinds of entries that WhatsApp Web puts into a chat by itself."""


def parse(raw: bytes, sessions: Mapping[str, str]) -> Parsed:
    """What an authentic body holds; `sessions` maps session names to accounts."""
    found = Collector()
    try:
        body = read_json(raw)
    except ValueError:
        found.quarantine("not JSON", raw)
        return found.parsed()
    found.each([body], partial(_read_event, found, sessions))
    return found.parsed()


def _read_event(found: Collector, sessions: Mapping[str, str], body: Any) -> None:
    if not isinstance(body, dict) or not isinstance(body.get("payload"), dict):
        raise Unreadable("no event with a payload")
    account = sessions.get(words(body.get("session")))
    if account is None:
        raise Unreadable("for a session that is not configured")
    event, payload = body.get("event"), body["payload"]
    if event in {"message", "message.any"}:
        _read_message(found, account, payload)
    elif event == "message.ack":
        _read_ack(found, account, payload)
    elif event == "message.edited":
        _read_edit(found, account, payload)
    elif event == "session.status":
        found.note_state(payload.get("status"))
    else:
        found.ignored += 1


def bare_id(value: Any) -> str:
    """The message's own part of an id such as `true_49151@c.us_3EB0[_participant]`."""
    parts = identifier(value).split("_")
    return parts[2] if len(parts) >= 3 and parts[0] in {"true", "false"} else identifier(value)


def _read_message(found: Collector, account: str, payload: dict[str, Any]) -> None:
    provider_id, from_me = bare_id(payload.get("id")), payload.get("fromMe") is True
    data, chat = mapping(payload.get("_data")), _chat(payload, from_me)
    if jid.is_crowd(chat) or words(data.get("type")) in _NOISE:
        found.ignored += 1
        return
    address, aliases = jid.person([chat, *_further_addresses(data, from_me)])
    if not address or not provider_id:
        raise Unreadable("a message without chat or id")
    source = payload.get("source")
    found.inbounds.append(
        Inbound(
            account=account,
            address=address,
            provider_message_id=provider_id,
            text=words(payload.get("body")),
            provider_timestamp=moment(payload.get("timestamp")),
            kind=_kind(payload),
            from_me=from_me,
            by_api=source == "api" if from_me and source in {"api", "app"} else None,
            aliases=aliases,
            profile_name=_profile_name(data) if not from_me else None,
            reply_to=bare_id(mapping(payload.get("replyTo")).get("id")) or None,
            raw=clean_json(payload) | {"from": address},
        )
    )


def _read_edit(found: Collector, account: str, payload: dict[str, Any]) -> None:
    edited = bare_id(payload.get("editedMessageId")) or bare_id(payload.get("id"))
    from_me = payload.get("fromMe") is True
    if not edited:
        raise Unreadable("an edit without an id")
    if from_me or jid.is_crowd(_chat(payload, from_me)):
        found.ignored += 1
        return
    text, at = words(payload.get("body")), moment(payload.get("timestamp"))
    found.edits.append(Edit(account=account, provider_message_id=edited, text=text, at=at))


def _chat(payload: dict[str, Any], from_me: bool) -> Any:
    """The other side of the chat: in the id; else `from`, or of our own messages `to`."""
    parts = identifier(payload.get("id")).split("_")
    if len(parts) >= 3 and parts[0] in {"true", "false"}:
        return parts[1]
    return payload.get("to") if from_me and payload.get("to") else payload.get("from")


def _further_addresses(data: dict[str, Any], from_me: bool) -> list[Any]:
    """The same person under other names, as far as WAHA's engines let them through."""
    key, info = mapping(data.get("key")), mapping(data.get("Info"))
    names = [key.get("remoteJid"), key.get("remoteJidAlt")]
    if not from_me:  # of our own messages the sender is us
        names += [key.get("senderPn"), key.get("senderLid"), info.get("Sender"), info.get("SenderAlt")]
    return names


def _profile_name(data: dict[str, Any]) -> str | None:
    name = data.get("pushName") or data.get("notifyName") or mapping(data.get("Info")).get("PushName")
    return words(name) or None


def _kind(payload: dict[str, Any]) -> str:
    if payload.get("hasMedia") is True:
        family = words(mapping(payload.get("media")).get("mimetype")).partition("/")[0]
        return family if family in {"image", "audio", "video"} else "document"
    if payload.get("location"):
        return "location"
    if payload.get("vCards"):
        return "contact"
    return "text" if words(payload.get("body")) else "unsupported"


def _read_ack(found: Collector, account: str, payload: dict[str, Any]) -> None:
    provider_id, ack = bare_id(payload.get("id")), payload.get("ack")
    if not provider_id:
        raise Unreadable("a receipt without an id")
    status = _ACKS.get(ack) if isinstance(ack, int) else None
    if status is None or payload.get("fromMe") is False or jid.is_crowd(payload.get("from")):
        found.ignored += 1
        return
    found.receipts.append(
        Receipt(
            account=account,
            provider_message_id=provider_id,
            status=status,
            at=moment(payload.get("timestamp")),
            error_text="WhatsApp reports that the message failed."
            if status is ReceiptStatus.FAILED
            else None,
        )
    )
