"""Bodies of the Evolution API's webhooks: messages, receipts, the connection's state."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from engine.channels import jid
from engine.channels.base import Edit, Inbound, Parsed, Receipt, ReceiptStatus
from engine.channels.webhook import (
    Collector,
    Unreadable,
    identifier,
    items,
    mapping,
    moment,
    read_json,
    words,
)
from engine.text import MAX_DEPTH, clean_json

REDACTED = "***"
SHORTEST_KEY = 6
"""Characters; taking out something shorter would mangle ordinary text."""
_SECRET_KEYS = frozenset({"apikey", "api_key", "token", "authorization"})
_BULK_KEYS = frozenset({"base64", "jpegthumbnail"})
"""Whole media and previews, which do not belong into a message's row."""
_KEY_IN_TEXT = re.compile(r'("(?:apikey|api_key|token|authorization)"\s*:\s*")[^"]*', re.IGNORECASE)

_STATUSES: dict[Any, ReceiptStatus] = {
    "ERROR": ReceiptStatus.FAILED,
    "SERVER_ACK": ReceiptStatus.SENT,
    "DELIVERY_ACK": ReceiptStatus.DELIVERED,
    "READ": ReceiptStatus.READ,
    "PLAYED": ReceiptStatus.READ,
    0: ReceiptStatus.FAILED,
    2: ReceiptStatus.SENT,
    3: ReceiptStatus.DELIVERED,
    4: ReceiptStatus.READ,
    5: ReceiptStatus.READ,
}
_WRAPPERS = (
    "ephemeralMessage",
    "viewOnceMessage",
    "viewOnceMessageV2",
    "viewOnceMessageV2Extension",
    "documentWithCaptionMessage",
    "deviceSentMessage",
)
"""Envelopes around a message proper."""
_KINDS = {
    "imageMessage": "image",
    "videoMessage": "video",
    "ptvMessage": "video",
    "audioMessage": "audio",
    "documentMessage": "document",
    "stickerMessage": "sticker",
    "locationMessage": "location",
    "liveLocationMessage": "location",
    "contactMessage": "contact",
    "contactsArrayMessage": "contact",
}
_ANSWERS = {
    "buttonsResponseMessage": ("selectedDisplayText", "selectedButtonId"),
    "templateButtonReplyMessage": ("selectedDisplayText", "selectedId"),
    "listResponseMessage": ("title", "description"),
}
"""Taps on buttons and lists, and where their words are."""
_NOISE = frozenset(
    {
        "reactionMessage",
        "encReactionMessage",
        "protocolMessage",
        "editedMessage",
        "pollUpdateMessage",
        "keepInChatMessage",
        "pinInChatMessage",
    }
)
"""Entries that say something about other messages."""
_META = frozenset({"messageContextInfo", "senderKeyDistributionMessage", "base64", "mediaUrl"})


def parse(raw: bytes, instances: Mapping[str, str], api_key: str) -> Parsed:
    """What an authentic body holds, without keys; `instances` maps instance names to accounts."""
    found = Collector(redact=partial(redact_text, api_key=api_key))
    try:
        body = redact(read_json(raw), api_key)
    except ValueError:
        found.quarantine("not JSON", raw)
        return found.parsed()
    found.each([body], partial(_read_event, found, instances))
    return found.parsed()


def redact(value: Any, api_key: str, depth: int = MAX_DEPTH) -> Any:
    """`value` without API keys, wherever they stand, and without bulk."""
    if isinstance(value, str):
        return _without(value, api_key)
    if depth < 1:
        return None
    if isinstance(value, list):
        return [redact(item, api_key, depth - 1) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        _without(key, api_key): REDACTED if key.lower() in _SECRET_KEYS else redact(item, api_key, depth - 1)
        for key, item in value.items()
        if key.lower() not in _BULK_KEYS
    }


def redact_text(text: str, api_key: str) -> str:
    """A body that is not JSON, or no longer, without keys."""
    return _without(_KEY_IN_TEXT.sub(rf"\g<1>{REDACTED}", text), api_key)


def _without(text: str, api_key: str) -> str:
    return text.replace(api_key, REDACTED) if len(api_key) >= SHORTEST_KEY else text


def _read_event(found: Collector, instances: Mapping[str, str], body: Any) -> None:
    if not isinstance(body, dict) or not isinstance(body.get("event"), str):
        raise Unreadable("no event")
    account = instances.get(words(body.get("instance")))
    if account is None:
        raise Unreadable("for an instance that is not configured")
    event = re.sub(r"[_-]", ".", body["event"].lower())
    data = body.get("data")
    if event in {"messages.upsert", "send.message"}:
        inner = mapping(data).get("messages")
        messages = items(inner) or items(data) or [data]
        found.each(messages, partial(_read_message, found, account, event == "send.message"))
    elif event == "messages.update":
        found.each(items(data) or [data], partial(_read_update, found, account))
    elif event == "messages.edited":
        found.each(items(data) or [data], partial(_read_edit, found, account))
    elif event == "connection.update":
        found.note_state(mapping(data).get("state"))
    else:
        found.ignored += 1


def _read_message(found: Collector, account: str, ours: bool, message: Any) -> None:
    """One message; `ours` when it came as the echo of a send through the API."""
    key = message["key"]
    provider_id, from_me = identifier(key["id"]), key.get("fromMe") is True or ours
    if jid.is_crowd(key.get("remoteJid")):
        found.ignored += 1
        return
    names = [key.get("remoteJid"), key.get("remoteJidAlt"), key.get("previousRemoteJid")]
    if not from_me:  # of our own messages the sender is us
        names += [key.get("senderPn"), key.get("senderLid"), message.get("senderPn")]
    address, aliases = jid.person(names)
    if not address or not provider_id:
        raise Unreadable("a message without chat or id")
    content = _unwrapped(mapping(message.get("message")))
    if _edited_of(content):
        _read_edit(
            found, account, content | {"key": key, "messageTimestamp": message.get("messageTimestamp")}
        )
        return
    if content.keys() & _NOISE or not content.keys() - _META:
        found.ignored += 1
        return
    kind, text = _content(content)
    found.inbounds.append(
        Inbound(
            account=account,
            address=address,
            provider_message_id=provider_id,
            text=text,
            provider_timestamp=_time(message.get("messageTimestamp")),
            kind=kind,
            from_me=from_me,
            by_api=True if ours else None,
            aliases=aliases,
            profile_name=(words(message.get("pushName")) or None) if not from_me else None,
            reply_to=_quoted(message, content),
            raw=clean_json(message) | {"from": address},
        )
    )


def _edited_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """The message's new content, where an entry says that it was edited."""
    protocol = mapping(content.get("protocolMessage"))
    return mapping(protocol.get("editedMessage")) or mapping(content.get("editedMessage"))


def _read_edit(found: Collector, account: str, edit: Any) -> None:
    """Names the message edited by the protocol's key, else by its own."""
    key = mapping(edit["key"])
    content = _edited_of(edit)
    inner = mapping(content.get("message"))
    if inner:  # wrapped once more
        _read_edit(found, account, inner | {"key": key, "messageTimestamp": edit.get("messageTimestamp")})
        return
    edited = identifier(mapping(mapping(edit.get("protocolMessage")).get("key")).get("id")) or identifier(
        key.get("id")
    )
    _, text = _content(_unwrapped(content))
    if not edited or not text:
        raise Unreadable("an edit without an id or text")
    if key.get("fromMe") is True or jid.is_crowd(key.get("remoteJid")):
        found.ignored += 1
        return
    at = _time(edit.get("messageTimestamp"))
    found.edits.append(Edit(account=account, provider_message_id=edited, text=text, at=at))


def _unwrapped(content: dict[str, Any]) -> dict[str, Any]:
    for _ in range(5):
        inner = next((content[name] for name in _WRAPPERS if name in content), None)
        if inner is None:
            break
        content = mapping(mapping(inner).get("message"))
    return content


def _content(content: dict[str, Any]) -> tuple[str, str]:
    """A message's kind and text."""
    plain = words(content.get("conversation")) or words(
        mapping(content.get("extendedTextMessage")).get("text")
    )
    if plain:
        return "text", plain
    for name, fields in _ANSWERS.items():
        if name in content:
            answer = mapping(content[name])
            return "text", next(filter(None, (words(answer.get(field)) for field in fields)), "")
    if "interactiveResponseMessage" in content:
        answer = mapping(mapping(content["interactiveResponseMessage"]).get("body"))
        return "text", words(answer.get("text"))
    for name, kind in _KINDS.items():
        if name in content:
            part = mapping(content[name])
            texts = (words(part.get(field)) for field in ("caption", "name", "displayName", "fileName"))
            return kind, next(filter(None, texts), "")
    return "unsupported", ""


def _quoted(message: Mapping[str, Any], content: Mapping[str, Any]) -> str | None:
    contexts = [message, *content.values()]
    quoted = (mapping(mapping(one).get("contextInfo")).get("stanzaId") for one in contexts)
    return next(filter(None, map(identifier, quoted)), None)


def _time(value: Any) -> Any:
    """Seconds, or a 64-bit integer as JavaScript writes it: `{"low": …, "high": 0}`."""
    return moment(value.get("low") if isinstance(value, dict) else value)


def _read_update(found: Collector, account: str, update: Any) -> None:
    key = mapping(update.get("key"))
    provider_id = identifier(update.get("keyId")) or identifier(key.get("id"))
    if not provider_id:
        raise Unreadable("a receipt without an id")
    told = update.get("status", mapping(update.get("update")).get("status"))
    status = _STATUSES.get(told) if isinstance(told, str | int) and not isinstance(told, bool) else None
    crowd = jid.is_crowd(update.get("remoteJid") or key.get("remoteJid"))
    if status is None or crowd or update.get("fromMe", key.get("fromMe")) is False:
        found.ignored += 1
        return
    found.receipts.append(
        Receipt(
            account=account,
            provider_message_id=provider_id,
            status=status,
            at=_time(update.get("datetime") or update.get("messageTimestamp")),
            error_text="WhatsApp reports that the message failed."
            if status is ReceiptStatus.FAILED
            else None,
        )
    )
