"""WhatsApp by Meta's Cloud API: one phone number an account.

A send's answer only says that Meta took the message; what became of it comes as status webhooks, which
carry our message id back (`biz_opaque_callback_data`) and so also settle sends of unknown outcome.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from engine.channel_accounts import WhatsAppCloudAccount
from engine.channels import whatsapp_cloud_webhook
from engine.channels.base import (
    Capabilities,
    Outgoing,
    Parsed,
    SendError,
    SendFailure,
    Sent,
    WebhookRefused,
    channel_blocker,
    channel_health,
)
from engine.channels.parts import send_in_parts
from engine.channels.webhook import check_signature, header, identifier, mapping, words
from engine.channels.whatsapp_cloud_stops import EXPIRED, QUALITY, Stop, stop_of
from engine.channels.whatsapp_cloud_webhook import WINDOW_CLOSED
from engine.channels.wire import Answer, exchange, http_client, unexpected
from engine.logs import SecretMask
from engine.model import Blocker, ComponentHealth
from engine.text import one_line

SIGNATURE_HEADER = "X-Hub-Signature-256"
HEALTH_SECONDS = 10.0
RECIPIENT_SECONDS = 6.0
"""Least time between two messages to a recipient whom Meta wants slowed."""

_RATES = frozenset({4, 80007, 130429})
_PAIR_RATE = 131056
_PERMANENT = frozenset({131026, 131030, 131051})
_SERVICE_DOWN = 131016
_TRANSIENT = frozenset({131000, _SERVICE_DOWN})
_NO_SUCH_OBJECT = 33
"""Subcode of error 100: the phone number id is wrong, or not this token's."""


class WhatsAppCloudChannel:
    """One phone number."""

    name = "whatsapp_cloud"

    def __init__(self, settings: WhatsAppCloudAccount, numbers: Mapping[str, str] | None = None) -> None:
        """`numbers` maps phone number ids to account names, where one app's webhook serves several."""
        self.account = settings.account
        self._settings = settings
        self._numbers = {**(numbers or {}), settings.phone_number_id: settings.account}
        self._client: httpx.AsyncClient = http_client()
        self._mask = SecretMask([settings.token.get_secret_value()])
        self.capabilities = Capabilities(
            receipts=True, webhook=True, polling=False, max_text=4096, window_24h=True, per_second=80.0
        )

    async def _call(self, method: str, path: str, timeout: float, body: Any = None) -> Answer:
        token = self._settings.token.get_secret_value()
        return await exchange(
            self._client,
            method,
            f"{self._settings.graph_base}/{self._settings.phone_number_id}{path}",
            timeout=timeout,
            mask=self._mask,
            json_body=body,
            headers={"Authorization": f"Bearer {token}"},
        )

    async def send(self, outgoing: Outgoing, *, timeout: float) -> Sent:
        return await send_in_parts(outgoing, self.capabilities, self._send_part, timeout=timeout)

    async def _send_part(self, outgoing: Outgoing, _part: int, timeout: float) -> Sent:
        body: dict[str, Any] = {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": outgoing.to.removeprefix("+"),
            "type": "text",
            "text": {"body": outgoing.text},
        }
        if outgoing.last_part:  # a receipt that names the message settles it
            body["biz_opaque_callback_data"] = str(outgoing.message_id)
        if outgoing.reply_to:
            body["context"] = {"message_id": outgoing.reply_to}
        answer = await self._call("POST", "/messages", timeout, body)
        if answer.status == 200 and isinstance(answer.body, dict) and "error" not in answer.body:
            return Sent(identifier(answer.get("messages", 0, "id")) or None, accepted=True)
        raise self._send_error(answer)

    def _send_error(self, answer: Answer) -> SendError:
        error = mapping(answer.get("error"))
        code = error.get("code")
        if not isinstance(code, int) or isinstance(code, bool):
            return unexpected(answer, "WhatsApp")
        told, known = _told(answer), str(code)
        if blocker := self._blocker(answer):
            return SendError(SendFailure.CHANNEL_DOWN, told, blocker=blocker, code=known)
        if code == _PAIR_RATE:
            wait = max(RECIPIENT_SECONDS, answer.retry_after or 0.0)
            return SendError(SendFailure.RATE, told, retry_after=wait, code=known, scope="recipient")
        if code in _RATES or answer.status == 429:
            return SendError(SendFailure.RATE, told, retry_after=answer.retry_after, code=known)
        if code == WINDOW_CLOSED:
            told = "The customer's 24 h window is closed: only a template may be sent."
            return SendError(SendFailure.PERMANENT, told, code=known, needs_human=True)
        if code in _TRANSIENT:
            return SendError(
                SendFailure.TRANSIENT,
                told,
                retry_after=answer.retry_after,
                code=known,
                service=code == _SERVICE_DOWN,
            )
        if code in _PERMANENT or 400 <= answer.status < 500:
            return SendError(SendFailure.PERMANENT, told, code=known)
        return SendError(SendFailure.UNKNOWN, told, code=known)

    def _blocker(self, answer: Answer) -> Blocker | None:
        """What stops the whole account, if that answer says so."""
        code, subcode = answer.get("error", "code"), answer.get("error", "error_subcode")
        if code == 100 and subcode == _NO_SUCH_OBJECT:
            stop: Stop | None = Stop(
                "phone_number",
                f"Meta knows no phone number {self._settings.phone_number_id} for this token.",
                "Copy the phone number ID from WhatsApp Manager into WHATSAPP_PHONE_NUMBER_ID and restart.",
            )
        else:
            stop = stop_of(code) or (EXPIRED if answer.status == 401 else None)
        return channel_blocker(self, stop.code, stop.what, stop.remedy) if stop else None

    def answer_challenge(self, query: Mapping[str, str]) -> str:
        expected = self._settings.verify_token
        if expected is None:
            raise WebhookRefused(403, "this account has no verify token configured")
        given = query.get("hub.verify_token", "").encode("utf-8", "replace")
        right = hmac.compare_digest(expected.get_secret_value().encode(), given)
        if not right or query.get("hub.mode") != "subscribe":
            raise WebhookRefused(403, "wrong verify token")
        return query.get("hub.challenge", "")[:200]

    def parse_webhook(
        self, account: str, headers: Mapping[str, str], raw: bytes, *, path_secret: str | None = None
    ) -> Parsed:
        given = header(headers, SIGNATURE_HEADER).strip()
        told = given[7:] if given[:7].lower() == "sha256=" else ""
        check_signature(raw, told, self._settings.webhook_secrets)
        return whatsapp_cloud_webhook.parse(raw, self._numbers)

    async def health(self) -> ComponentHealth:
        now = datetime.now(UTC)
        try:
            answer = await self._call(
                "GET", "?fields=display_phone_number,verified_name,quality_rating", HEALTH_SECONDS
            )
        except SendError as error:
            blocker = channel_blocker(
                self, "unreachable", error.message, "Check that this machine reaches graph.facebook.com."
            )
            return channel_health(self, "down", error.message, at=now, blocker=blocker)
        if answer.status != 200:
            told = _told(answer)
            blocker = self._blocker(answer) or channel_blocker(
                self, "refused", told, "Check the number and the token in WhatsApp Manager."
            )
            return channel_health(self, "down", told, at=now, blocker=blocker)
        detail = one_line(words(answer.get("display_phone_number")), 40)
        quality = words(answer.get("quality_rating"))
        if quality == "RED":
            return channel_health(self, "degraded", f"{detail}: quality rating is red. {QUALITY}", at=now)
        if not self._settings.webhook_secrets:
            blocker = channel_blocker(
                self,
                "no_app_secret",
                "No app secret is configured, so every webhook is refused and nothing can come in.",
                "Copy the app secret from Meta's App Dashboard into WHATSAPP_APP_SECRET and restart.",
            )
            return channel_health(self, "down", detail, at=now, blocker=blocker)
        return channel_health(self, "up", detail, at=now)

    async def aclose(self) -> None:
        await self._client.aclose()


def _told(answer: Answer) -> str:
    """Meta's own words about an error."""
    details = words(answer.get("error", "error_data", "details")) or words(answer.get("error", "message"))
    code = identifier(answer.get("error", "code"))
    return f"WhatsApp answered {answer.status}, error {code or '?'}: {one_line(details, 200) or answer.text}"
