"""WhatsApp through the Evolution API, a gateway one hosts oneself: one instance an account.

Its webhooks are not signed and carry the instance's API key in their body: they are let in by a secret of
ours, in a header or the path, and the key is taken out before anything is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from engine.channel_accounts import EvolutionAccount
from engine.channels import evolution_webhook, jid
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
from engine.channels.webhook import check_secret, header, identifier, items, mapping, words
from engine.channels.wire import Answer, exchange, http_client, unexpected
from engine.logs import SecretMask
from engine.model import Blocker, ComponentHealth
from engine.text import one_line

AUTH_HEADER = "X-Switchboard-Secret"
HEALTH_SECONDS = 10.0
OPEN = "open"
_REMEDIES = {
    "connecting": "Wait a minute; if it stays so, restart the instance in Evolution's manager.",
    "close": "Open Evolution's manager, connect the instance and scan the QR code with the phone.",
}


class EvolutionChannel:
    """One instance."""

    name = "evolution"

    def __init__(self, settings: EvolutionAccount, instances: Mapping[str, str] | None = None) -> None:
        """`instances` maps instance names to account names, where one webhook URL serves several."""
        self.account = settings.account
        self._settings = settings
        self._instances = {**(instances or {}), settings.instance: settings.account}
        self._client: httpx.AsyncClient = http_client()
        self._mask = SecretMask([settings.api_key.get_secret_value()])
        self.capabilities = Capabilities(receipts=True, webhook=True, polling=False, max_text=60_000)

    async def _call(self, method: str, path: str, timeout: float, body: Any = None) -> Answer:
        return await exchange(
            self._client,
            method,
            f"{self._settings.base_url}{path}/{self._settings.instance}",
            timeout=timeout,
            mask=self._mask,
            json_body=body,
            headers={"apikey": self._settings.api_key.get_secret_value()},
        )

    async def send(self, outgoing: Outgoing, *, timeout: float) -> Sent:
        return await send_in_parts(outgoing, self.capabilities, self._send_part, timeout=timeout)

    async def _send_part(self, outgoing: Outgoing, _part: int, timeout: float) -> Sent:
        address = jid.canonical(outgoing.to)
        if not address:
            raise SendError(SendFailure.PERMANENT, f"Not a WhatsApp address: {one_line(outgoing.to, 60)}")
        number = address if jid.is_lid(address) else address.partition("@")[0]
        body: dict[str, Any] = {"number": number, "text": outgoing.text}
        if outgoing.reply_to:
            body["quoted"] = {"key": {"id": outgoing.reply_to}}
        answer = await self._call("POST", "/message/sendText", timeout, body)
        if answer.status in {200, 201} and isinstance(answer.body, dict):
            return Sent(identifier(answer.get("key", "id")) or None, accepted=True)
        raise self._send_error(answer)

    def _send_error(self, answer: Answer) -> SendError:
        told, code = _told(answer), str(answer.status)
        if blocker := self._blocker(answer):
            return SendError(SendFailure.CHANNEL_DOWN, told, blocker=blocker, code=code)
        if answer.status == 429:
            return SendError(SendFailure.RATE, told, retry_after=answer.retry_after, code=code)
        if answer.status >= 400 and _thrown(answer):
            # What the WhatsApp library threw half-way through a send comes back as a 400 too.
            blocker = self._not_open("close") if "connection closed" in _said(answer).lower() else None
            return SendError(SendFailure.UNKNOWN, told, blocker=blocker, code=code)
        return unexpected(answer, "Evolution")

    def _blocker(self, answer: Answer) -> Blocker | None:
        """What stops the whole instance, if that answer says so."""
        if answer.status in {401, 403}:
            return channel_blocker(
                self,
                "auth",
                "Evolution refuses the API key.",
                "Set EVOLUTION_API_KEY to the instance's key, or the server's, and restart.",
            )
        if answer.status == 404:
            return channel_blocker(
                self,
                "no_instance",
                f"Evolution has no instance {self._settings.instance!r}.",
                "Create it in Evolution's manager, or correct EVOLUTION_INSTANCE and restart.",
            )
        return None

    def _not_open(self, state: str) -> Blocker:
        return channel_blocker(
            self,
            "session",
            f"The WhatsApp instance {self._settings.instance!r} is not connected ({one_line(state, 40)}).",
            _REMEDIES.get(state, "Look at the instance in Evolution's manager."),
        )

    def parse_webhook(
        self, account: str, headers: Mapping[str, str], raw: bytes, *, path_secret: str | None = None
    ) -> Parsed:
        bearer = header(headers, "Authorization")
        given = header(headers, AUTH_HEADER) or (bearer[7:] if bearer[:7].lower() == "bearer " else "")
        check_secret(given or path_secret, self._settings.webhook_secrets)
        return evolution_webhook.parse(raw, self._instances, self._settings.api_key.get_secret_value())

    async def health(self) -> ComponentHealth:
        now = datetime.now(UTC)
        try:
            answer = await self._call("GET", "/instance/connectionState", HEALTH_SECONDS)
        except SendError as error:
            blocker = channel_blocker(
                self,
                "unreachable",
                error.message,
                "Start Evolution, or correct EVOLUTION_BASE_URL and restart.",
            )
            return channel_health(self, "down", error.message, at=now, blocker=blocker)
        state = words(answer.get("instance", "state"))
        if answer.status == 200 and state == OPEN:
            if not self._settings.webhook_secrets:
                blocker = channel_blocker(
                    self,
                    "no_webhook_secret",
                    "No webhook secret is configured, so every webhook is refused and nothing can come in.",
                    "Set EVOLUTION_WEBHOOK_SECRET, end the instance's webhook URL in it, and restart.",
                )
                return channel_health(self, "down", state, at=now, blocker=blocker)
            return channel_health(self, "up", state, at=now)
        stopped = self._not_open(state) if answer.status == 200 and state else self._blocker(answer)
        blocker = stopped or channel_blocker(
            self, "refused", _told(answer), "Look at the instance in Evolution's manager."
        )
        return channel_health(self, "down", state or _told(answer), at=now, blocker=blocker)

    async def aclose(self) -> None:
        await self._client.aclose()


def _said(answer: Answer) -> str:
    """The message of an error, which Evolution nests in various ways."""
    nested = answer.get("response", "message")
    for said in (nested, answer.get("message"), answer.get("error")):
        first = items(said)[0] if items(said) else said
        if isinstance(first, str) and first:
            return words(first)
    return "no WhatsApp account has this number" if _no_such_number(nested) else ""


def _no_such_number(nested: Any) -> bool:
    return any(mapping(one).get("exists") is False for one in items(nested))


def _thrown(answer: Answer) -> bool:
    """Whether the answer is an exception of the gateway's, not a verdict on the request."""
    said = _said(answer).lower()
    marks = ("error:", "connection closed", "timed out", "timeout", "socket", "not connected")
    return any(mark in said for mark in marks)


def _told(answer: Answer) -> str:
    return f"Evolution answered {answer.status}: {one_line(_said(answer), 200) or answer.text or 'nothing'}"
