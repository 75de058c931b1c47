"""The simulated channel: for demonstrations, tests, and messages somebody inserts by SQL.

With a far end's URL it speaks real HTTP to it; without one, messages are delivered in process at once.

Far end's protocol: `POST /messages` `{message_id, part, account, to, text, reply_to, attempt}` →
200 `{"id": …}`, or an error `{"error": {"code", "message"}}`: 401/403 the account may not send, 429 slower
(`Retry-After`), 503 not taken for now, other 4xx refused for good; 5xx otherwise leaves the outcome open.
`GET /health` → 200. Webhook: `{"messages": [{id, from, text, timestamp, …}], "receipts": [{id, message_id,
status, at}]}`, signed in `X-Simulator-Signature` with HMAC-SHA256.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from engine.channels.base import (
    DEFAULT_ACCOUNT,
    Capabilities,
    Inbound,
    Outgoing,
    Parsed,
    Receipt,
    ReceiptStatus,
    SendError,
    SendFailure,
    Sent,
    channel_blocker,
    channel_health,
)
from engine.channels.parts import send_in_parts
from engine.channels.webhook import (
    Collector,
    Secrets,
    Unreadable,
    check_signature,
    header,
    identifier,
    items,
    mapping,
    moment,
    positive,
    read_json,
    words,
)
from engine.channels.wire import Answer, exchange, http_client, unexpected
from engine.model import ComponentHealth
from engine.text import clean_json, one_line

SIGNATURE_HEADER = "X-Simulator-Signature"
HEALTH_SECONDS = 5.0


class SimulatorChannel:
    """One account of the simulated channel."""

    name = "simulator"

    def __init__(
        self,
        *,
        base_url: str | None = None,
        webhook_secrets: Secrets = (),
        account: str = DEFAULT_ACCOUNT,
    ) -> None:
        self.account = account
        self._base_url = base_url.rstrip("/") if base_url else None
        self._secrets = webhook_secrets
        self._client: httpx.AsyncClient | None = http_client(use_proxy=False) if base_url else None
        self.capabilities = Capabilities(
            receipts=base_url is not None, webhook=bool(webhook_secrets), polling=False, max_text=4096
        )

    async def send(self, outgoing: Outgoing, *, timeout: float) -> Sent:
        return await send_in_parts(outgoing, self.capabilities, self._send_part, timeout=timeout)

    async def _send_part(self, outgoing: Outgoing, part: int, timeout: float) -> Sent:
        if self._client is None:
            return Sent(f"sim-{uuid.uuid4().hex}")
        body = {
            "message_id": outgoing.message_id,
            "part": part,
            "account": outgoing.account,
            "to": outgoing.to,
            "text": outgoing.text,
            "reply_to": outgoing.reply_to,
            "attempt": outgoing.attempt,
        }
        answer = await exchange(
            self._client, "POST", f"{self._base_url}/messages", timeout=timeout, json_body=body
        )
        return self._read_answer(answer)

    def _read_answer(self, answer: Answer) -> Sent:
        if answer.status == 200 and isinstance(answer.body, dict):
            taken = identifier(answer.get("id")) or None
            return Sent(taken, accepted=taken is None)
        code = identifier(answer.get("error", "code")) or str(answer.status)
        told = one_line(words(answer.get("error", "message")) or f"The simulator answered {answer.status}.")
        if answer.status in {401, 403}:
            blocker = channel_blocker(
                self,
                "auth",
                "The simulator refuses this account.",
                "Let its far end accept the account again.",
            )
            raise SendError(SendFailure.CHANNEL_DOWN, told, blocker=blocker, code=code)
        if answer.status == 429:
            raise SendError(SendFailure.RATE, told, retry_after=answer.retry_after, code=code)
        if answer.status == 503 and isinstance(answer.get("error"), dict):
            raise SendError(SendFailure.TRANSIENT, told, retry_after=answer.retry_after, code=code)
        raise unexpected(answer, "The simulator")

    async def health(self) -> ComponentHealth:
        now = datetime.now(UTC)
        if self._client is None:
            return channel_health(self, "up", "delivers in process", at=now, simulated=True)
        try:
            answer = await exchange(self._client, "GET", f"{self._base_url}/health", timeout=HEALTH_SECONDS)
        except SendError as error:
            detail = error.message
        else:
            if answer.status == 200:
                return channel_health(self, "up", "far end answers", at=now, simulated=True)
            detail = f"The far end answered {answer.status}."
        blocker = channel_blocker(
            self, "unreachable", detail, "Start the simulator's far end, or unset SIMULATOR_BASE_URL."
        )
        return channel_health(self, "down", detail, at=now, blocker=blocker, simulated=True)

    def parse_webhook(
        self, account: str, headers: Mapping[str, str], raw: bytes, *, path_secret: str | None = None
    ) -> Parsed:
        check_signature(raw, header(headers, SIGNATURE_HEADER), self._secrets)
        found = Collector()
        try:
            body = mapping(read_json(raw))
        except ValueError:
            found.quarantine("not JSON", raw)
            return found.parsed()
        messages = found.each_in(body, "messages", lambda one: found.inbounds.append(_inbound(account, one)))
        receipts = found.each_in(body, "receipts", lambda one: found.receipts.append(_receipt(account, one)))
        if not messages + receipts:
            found.quarantine("neither messages nor receipts", body)
        return found.parsed()

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()


def _inbound(account: str, item: Any) -> Inbound:
    address, provider_id = identifier(item["from"]), identifier(item["id"])
    if not address or not provider_id:
        raise Unreadable("no sender or no id")
    return Inbound(
        account=account,
        address=address,
        provider_message_id=provider_id,
        text=words(item.get("text")),
        provider_timestamp=moment(item.get("timestamp")),
        kind=words(item.get("kind")) or "text",
        from_me=item.get("from_me") is True,
        by_api=item.get("by_api") if isinstance(item.get("by_api"), bool) else None,
        aliases=tuple(filter(None, map(identifier, items(item.get("aliases"))))),
        profile_name=words(item.get("name")) or None,
        reply_to=identifier(item.get("reply_to")) or None,
        raw=clean_json(item) | {"from": address},
    )


def _receipt(account: str, item: Any) -> Receipt:
    provider_id = identifier(item["id"])
    if not provider_id:
        raise Unreadable("no id")
    error = mapping(item.get("error"))
    return Receipt(
        account=account,
        provider_message_id=provider_id,
        message_id=positive(item.get("message_id")),
        status=ReceiptStatus(item["status"]),
        at=moment(item.get("at")),
        error_code=identifier(error.get("code")) or None,
        error_text=words(error.get("message")) or None,
    )
