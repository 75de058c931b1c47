"""WhatsApp through WAHA, a gateway one hosts oneself: one session an account.

Message ids look like `true_49151…@c.us_3EB0…`. The same message may name the chat by phone number in one
place and by LID in another, so our provider id is the last part alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from engine.channel_accounts import WahaAccount
from engine.channels import jid, waha_webhook
from engine.channels.base import (
    Capabilities,
    Outgoing,
    Parsed,
    SendError,
    SendFailure,
    Sent,
    channel_blocker,
    channel_health,
)
from engine.channels.parts import send_in_parts
from engine.channels.waha_webhook import bare_id
from engine.channels.webhook import check_signature, header, words
from engine.channels.wire import Answer, exchange, http_client, unexpected
from engine.logs import SecretMask
from engine.model import Blocker, ComponentHealth
from engine.text import one_line

SIGNATURE_HEADER = "X-Webhook-Hmac"
HEALTH_SECONDS = 10.0
WORKING = "WORKING"
_SCAN = "Open WAHA's dashboard and scan the QR code with the phone (WhatsApp, linked devices)."
_REMEDIES = {
    "STOPPED": "Start the session in WAHA's dashboard (POST /api/sessions/{session}/start).",
    "STARTING": "Wait a minute; if it stays so, restart the session in WAHA's dashboard.",
    "SCAN_QR_CODE": _SCAN,
    "PASSKEY_REQUIRED": "Open WAHA's dashboard and complete the passkey that WhatsApp asks for.",
    "PASSKEY_CONFIRMATION_REQUIRED": "Open WAHA's dashboard and confirm on the phone the code it shows.",
    "FAILED": "Restart the session in WAHA's dashboard; if that does not help, log it out and scan again.",
}
_NEW_CONTACTS = ("error 463", "error 475")
"""WhatsApp's refusals to write to people who have not written first; they say so in a 500."""


class WahaChannel:
    """One session."""

    name = "waha"

    def __init__(self, settings: WahaAccount, sessions: Mapping[str, str] | None = None) -> None:
        """`sessions` maps session names to account names, where one webhook URL serves several."""
        self.account = settings.account
        self._settings = settings
        self._sessions = {**(sessions or {}), settings.session: settings.account}
        self._client: httpx.AsyncClient = http_client()
        self._mask = SecretMask([key.get_secret_value()] if (key := settings.api_key) else [])
        self.capabilities = Capabilities(receipts=True, webhook=True, polling=False, max_text=60_000)

    async def _call(self, method: str, path: str, timeout: float, body: Any = None) -> Answer:
        key = self._settings.api_key
        return await exchange(
            self._client,
            method,
            f"{self._settings.base_url}{path}",
            timeout=timeout,
            mask=self._mask,
            json_body=body,
            headers={"X-Api-Key": key.get_secret_value()} if key else None,
        )

    # Sending

    async def send(self, outgoing: Outgoing, *, timeout: float) -> Sent:
        return await send_in_parts(outgoing, self.capabilities, self._send_part, timeout=timeout)

    async def _send_part(self, outgoing: Outgoing, _part: int, timeout: float) -> Sent:
        chat = jid.canonical(outgoing.to)
        if not chat:
            raise SendError(SendFailure.PERMANENT, f"Not a WhatsApp address: {one_line(outgoing.to, 60)}")
        body = {"session": self._settings.session, "chatId": chat, "text": outgoing.text}
        if outgoing.reply_to:
            body["reply_to"] = f"false_{chat}_{outgoing.reply_to}"
        answer = await self._call("POST", "/api/sendText", timeout, body)
        if answer.status in {200, 201} and isinstance(answer.body, dict):
            return Sent(_sent_id(answer) or None, accepted=True)
        raise self._send_error(answer)

    def _send_error(self, answer: Answer) -> SendError:
        told = _told(answer)
        code = str(answer.status)
        if blocker := self._blocker(answer):
            return SendError(SendFailure.CHANNEL_DOWN, told, blocker=blocker, code=code)
        if answer.status == 429:
            return SendError(SendFailure.RATE, told, retry_after=answer.retry_after, code=code)
        if answer.status == 500 and any(mark in answer.text for mark in _NEW_CONTACTS):
            return SendError(SendFailure.PERMANENT, told, code=code)
        return unexpected(answer, "WAHA")

    def _blocker(self, answer: Answer) -> Blocker | None:
        """What stops the whole session, if that answer says so."""
        state = words(answer.get("status"))
        if answer.status in {401, 403}:
            return channel_blocker(
                self, "auth", "WAHA refuses the API key.", "Set WAHA_API_KEY to WAHA's own key and restart."
            )
        if answer.status == 422 and state and state != WORKING:
            return self._not_working(state)
        if answer.status in {404, 422} and "does not exist" in answer.text:
            return channel_blocker(
                self,
                "no_session",
                f"WAHA has no session {self._settings.session!r}.",
                "Create it in WAHA's dashboard, or correct WAHA_SESSION and restart.",
            )
        return None

    def _not_working(self, state: str) -> Blocker:
        known = _REMEDIES.get(state, "Look at the session in WAHA's dashboard.")
        return channel_blocker(
            self,
            "session",
            f"The WhatsApp session {self._settings.session!r} is {one_line(state, 40)}.",
            known.format(session=self._settings.session),
        )

    # Receiving

    def parse_webhook(
        self, account: str, headers: Mapping[str, str], raw: bytes, *, path_secret: str | None = None
    ) -> Parsed:
        check_signature(raw, header(headers, SIGNATURE_HEADER), self._settings.webhook_secrets, "sha512")
        return waha_webhook.parse(raw, self._sessions)

    async def resolve(self, address: str, *, timeout: float) -> str | None:
        """The phone address behind a LID, or None when WAHA does not know it."""
        if not jid.is_lid(address):
            return None
        path = f"/api/{self._settings.session}/lids/{quote(address, safe='')}"
        try:
            answer = await self._call("GET", path, timeout)
        except SendError:
            return None
        phone = jid.canonical(answer.get("pn"))
        return phone if answer.status == 200 and phone and not jid.is_lid(phone) else None

    # Health

    async def health(self) -> ComponentHealth:
        now = datetime.now(UTC)
        try:
            answer = await self._call("GET", f"/api/sessions/{self._settings.session}", HEALTH_SECONDS)
        except SendError as error:
            blocker = channel_blocker(
                self, "unreachable", error.message, "Start WAHA, or correct WAHA_BASE_URL and restart."
            )
            return channel_health(self, "down", error.message, at=now, blocker=blocker)
        state = words(answer.get("status"))
        if answer.status == 200 and state == WORKING:
            if not self._settings.webhook_secrets:
                blocker = channel_blocker(
                    self,
                    "no_hmac_key",
                    "No HMAC key is configured, so every webhook is refused and nothing can come in.",
                    "Set WAHA_HMAC_KEY here, the same key at the session's webhook in WAHA, and restart.",
                )
                return channel_health(self, "down", state, at=now, blocker=blocker)
            return channel_health(self, "up", state, at=now)
        stopped = self._not_working(state) if answer.status == 200 and state else self._blocker(answer)
        blocker = stopped or channel_blocker(
            self,
            "no_session",
            _told(answer),
            "Create the session in WAHA's dashboard, or correct WAHA_SESSION.",
        )
        return channel_health(self, "down", state or _told(answer), at=now, blocker=blocker)

    async def aclose(self) -> None:
        await self._client.aclose()


def _told(answer: Answer) -> str:
    said = words(answer.get("error")) or words(answer.get("message")) or answer.text
    return f"WAHA answered {answer.status}: {one_line(said, 200) or 'nothing'}"


def _sent_id(answer: Answer) -> str:
    """The id in the answer to a send; every engine of WAHA writes it elsewhere."""
    for path in (("id",), ("id", "_serialized"), ("id", "id"), ("key", "id"), ("_data", "id", "_serialized")):
        if found := bare_id(answer.get(*path)):
            return found
    return ""
