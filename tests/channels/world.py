"""A running engine whose real channel speaks to a stand-in for its far end, seen from both sides."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg

from tests.channels.cases import BODIES, BY_NAME, PREVIOUS, SECRET
from tests.support.far_ends import evolution, telegram, waha, whatsapp_cloud
from tests.support.far_ends.service import Service
from tests.support.trip import Trip, trip

PATHS = {"whatsapp_cloud": "whatsapp"}
"""How a channel is called in a webhook's URL, where that is not its name."""
FORGOTTEN = (
    "et_messages",
    "et_outbound_queue",
    "et_threads",
    "et_leads",
    "et_lead_addresses",
    "et_turns",
    "et_intake_quarantine",
    "et_pending_receipts",
)
CUSTOMER = {
    "telegram": "7001",
    "whatsapp_cloud": "4915199",
    "waha": "4915199@c.us",
    "evolution": "4915199@c.us",
}
RECORDED = re.compile(r"\b17715\d{5}\b")
"""The time at which bodies were recorded."""
WAHA_ACKS = {"failed": -1, "sent": 1, "delivered": 2, "read": 3}
EVOLUTION_STATUS = {"failed": "ERROR", "sent": "SERVER_ACK", "delivered": "DELIVERY_ACK", "read": "READ"}


def body(channel: str, name: str) -> dict[str, Any]:
    """A recorded body as if it was sent now, to be changed at will."""
    text = RECORDED.sub(str(int(time.time())), (BODIES / channel / f"{name}.json").read_text())
    sent: dict[str, Any] = json.loads(text)["body"]
    return sent


def account(channel: str, url: str, **fields: Any) -> dict[str, Any]:
    """An account's table in switchboard.toml, on a far end's URL."""
    return {
        "telegram": {"bot_token": telegram.TOKEN, "api_base": url},
        "telegram by webhook": {
            "bot_token": telegram.TOKEN,
            "api_base": url,
            "webhook_secret": SECRET,
            "webhook_secret_previous": PREVIOUS,
        },
        "whatsapp_cloud": {
            "token": whatsapp_cloud.TOKEN,
            "phone_number_id": whatsapp_cloud.NUMBER_ID,
            "app_secret": SECRET,
            "app_secret_previous": PREVIOUS,
            "verify_token": "verify-me",
            "graph_base": url,
        },
        "waha": {
            "base_url": url,
            "api_key": waha.API_KEY,
            "hmac_key": SECRET,
            "hmac_key_previous": PREVIOUS,
        },
        "evolution": {
            "base_url": url,
            "api_key": evolution.API_KEY,
            "instance": evolution.INSTANCE,
            "webhook_secret": SECRET,
            "webhook_secret_previous": PREVIOUS,
        },
    }[channel] | fields


class World:
    """One engine, one far end, one database."""

    def __init__(self, kind: str, whole: Trip, far: Any) -> None:
        self.kind, self.trip, self.far = kind, whole, far
        self.channel = kind.partition(" ")[0]
        self.case = BY_NAME[self.channel]
        self.customer = CUSTOMER[self.channel]
        self.updates = 870_000

    # The far end speaks

    def post(self, what: Any, *, secret: str | None = SECRET, path: str = "") -> int:
        """A webhook request to the engine; `secret` None leaves the authentication out."""
        raw = what if isinstance(what, bytes) else json.dumps(what).encode()
        headers = dict(self.case.sign(raw, secret)) if secret else {}
        return self.request("POST", path, content=raw, headers=headers).status_code

    def request(self, method: str, path: str = "", **more: Any) -> httpx.Response:
        assert self.trip.engine is not None
        address = self.trip.engine.snapshot().http_address
        name = PATHS.get(self.channel, self.channel)
        return httpx.request(method, f"http://{address}/webhooks/{name}{path}", timeout=10, **more)

    def deliver(self, what: dict[str, Any], **how: Any) -> None:
        """As this far end does: by webhook, or with the next poll."""
        if self.kind == "telegram":
            self.far.updates.append(what)
        else:
            assert self.post(what, **how) == 200

    def message(self, text: str, number: int = 1) -> dict[str, Any]:
        """What the far end sends when the customer writes."""
        whole = body(self.channel, "text")
        match self.channel:
            case "telegram":
                whole["update_id"] = self.updates + number
                whole["message"] |= {"message_id": number, "text": text}
            case "whatsapp_cloud":
                value = whole["entry"][0]["changes"][0]["value"]
                value["messages"][0] |= {"id": f"wamid.in{number}", "text": {"body": text}}
            case "waha":
                whole["payload"] |= {"id": f"false_{self.customer}_IN{number}", "body": text}
            case "evolution":
                whole["data"]["key"]["id"] = f"IN{number}"
                whole["data"]["message"] = {"conversation": text}
        return whole

    def edit(self, text: str, number: int = 1, at: int = 1_771_509_660) -> dict[str, Any]:
        """What the far end sends when the customer changes message `number`."""
        whole = body(self.channel, "edited")
        match self.channel:
            case "telegram":
                self.updates += 10
                whole["update_id"] = self.updates + number
                whole["edited_message"] |= {"message_id": number, "text": text, "edit_date": at}
            case "waha":
                told = {"editedMessageId": f"IN{number}", "body": text, "timestamp": at}
                whole["payload"] |= {"id": f"false_{self.customer}_E{number}"} | told
            case "evolution":
                whole["data"]["key"]["id"] = f"IN{number}"
                whole["data"] |= {"editedMessage": {"conversation": text}, "messageTimestamp": at}
        return whole

    def own(self, text: str, provider_id: str, *, echo: bool) -> dict[str, Any]:
        """What comes back of a message of our own account: an echo of the API, or typed on the phone."""
        if self.channel == "whatsapp_cloud":
            whole = body("whatsapp_cloud", "app_echo")
            message = whole["entry"][0]["changes"][0]["value"]["message_echoes"][0]
            message |= {"id": provider_id, "text": {"body": text}}
            return whole
        # Neither says here who wrote it: the engine has to know its own messages.
        whole = body(self.channel, "typed_on_phone")
        if self.channel == "waha":
            whole["payload"] |= {"id": f"true_{self.customer}_{provider_id}", "body": text}
            whole["payload"]["source"] = None if echo else "app"
        else:
            whole["data"] |= {"message": {"conversation": text}}
            whole["data"]["key"]["id"] = provider_id
        return whole

    def receipt(self, provider_id: str, status: str, at: int, message_id: int | None = None) -> Any:
        """What comes back of a message of ours; `message_id` where the far end carries it along."""
        match self.channel:
            case "whatsapp_cloud":
                whole = body("whatsapp_cloud", "statuses")
                told = {"id": provider_id, "status": status, "timestamp": str(at)}
                if message_id is not None:
                    told["biz_opaque_callback_data"] = str(message_id)
                whole["entry"][0]["changes"][0]["value"]["statuses"] = [told]
            case "waha":
                whole = body("waha", "ack_device")
                ack = {"id": f"true_{self.customer}_{provider_id}", "ack": WAHA_ACKS[status]}
                whole["payload"] |= ack | {"timestamp": at}
            case _:
                whole = body("evolution", "update_read")
                told = {"keyId": provider_id, "status": EVOLUTION_STATUS[status]}
                whole["data"] |= told | {"messageTimestamp": at}
        return whole

    # What the engine made of it

    def inbound(self) -> list[dict[str, Any]]:
        return self.trip.query("SELECT * FROM et_messages WHERE direction = 'inbound' ORDER BY id")

    def thread(self) -> dict[str, Any]:
        return self.trip.one("SELECT * FROM et_threads")

    def send(self) -> dict[str, Any]:
        return self.trip.one("SELECT * FROM et_outbound_queue")

    def until_send(self, **columns: Any) -> dict[str, Any]:
        """The one send, once it looks like this."""

        def found() -> dict[str, Any] | None:
            rows = self.trip.query("SELECT * FROM et_outbound_queue")
            matches = [row for row in rows if all(row[name] == value for name, value in columns.items())]
            return matches[0] if matches else None

        row: dict[str, Any] = self.trip.until(found, f"a send is {columns}")
        return row

    def converse(self, text: str = "Are you open?", number: int = 1) -> dict[str, Any]:
        """The customer writes and is answered; returns the reply."""
        before = len(self.inbound())
        self.deliver(self.message(text, number))
        message = self.trip.until(lambda: self.inbound()[before:], "the message is stored")[0]
        return self.trip.until_sent(message["id"])

    def say(self, text: str) -> int:
        """A person writes to the customer, in place of the AI's reply; returns the message's id."""
        self.trip.query("DELETE FROM et_outbound_queue RETURNING id")
        row = self.trip.one(
            "INSERT INTO et_messages (tenant_id, thread_id, channel, account, direction, author, text_content,"
            " delivery_status) SELECT tenant_id, id, channel, account, 'outbound', 'human', %s, 'queued'"
            " FROM et_threads RETURNING id, thread_id",
            text,
        )
        self.trip.query(
            "INSERT INTO et_outbound_queue (message_id, tenant_id, thread_id, channel)"
            " VALUES (%s, 1, %s, %s) RETURNING pg_notify('et_outbound', id::text)",
            row["id"],
            row["thread_id"],
            self.channel,
        )
        return int(row["id"])

    def reset(self) -> None:
        """Forget every message and conversation, once the engine is through with them."""

        def forgotten() -> bool:
            try:
                self.trip.connection.execute(f"TRUNCATE {', '.join(FORGOTTEN)}")
            except psycopg.errors.DeadlockDetected:
                return False
            return True

        busy = "SELECT FROM et_messages WHERE delivery_status IN ('received', 'inbound_processing', 'processing')"
        self.trip.until(lambda: not self.trip.query(busy), "the engine is idle")
        self.trip.until(forgotten)
        self.far.arrived.clear()
        self.far.requests.clear()
        self.updates += 1000  # Telegram never gives a number out again

    def blockers(self, code: str) -> list[Any]:
        assert self.trip.engine is not None
        return [one for one in self.trip.engine.snapshot().blockers if one.code == code]


@contextmanager
def world(kind: str, dsn: str, tmp_path: Path, settings: Mapping[str, Any] | None = None) -> Iterator[World]:
    """A world whose engine runs. `kind` is a channel, or `telegram by webhook`."""
    channel = kind.partition(" ")[0]
    far: Service = BY_NAME[channel].service()
    if kind == "telegram by webhook":
        far.webhook_url = "https://shop.example/webhooks/telegram"  # type: ignore[attr-defined]
    with far:
        given = {
            "http_enabled": True,
            "http_port": 0,
            "channels": {channel: [account(kind, far.base_url)]},
            "send_timeout_seconds": 2.0,
            **(settings or {}),
        }
        with trip(dsn, tmp_path, **given) as whole:
            whole.start()
            yield World(kind, whole, far)


def settle(seconds: float = 0.4) -> None:
    """Time in which something that must not happen could have happened."""
    time.sleep(seconds)
