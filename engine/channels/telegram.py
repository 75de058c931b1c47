"""Telegram bots: long polling by default, the webhook when a secret is configured for it.

Telegram gives no receipts, takes no idempotency key and cannot be asked what became of a message: a send
without an answer stays unknown until a person decides. Message numbers count per chat, so our provider id
is `bot:chat:number`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx

from engine.channel_accounts import TelegramAccount
from engine.channels.base import (
    Capabilities,
    Edit,
    Inbound,
    Outgoing,
    Parsed,
    Polled,
    PollError,
    SendError,
    SendFailure,
    Sent,
    channel_blocker,
    channel_health,
)
from engine.channels.parts import send_in_parts
from engine.channels.webhook import (
    Collector,
    Unreadable,
    check_secret,
    header,
    identifier,
    mapping,
    moment,
    positive,
    read_json,
    words,
)
from engine.channels.wire import Answer, exchange, http_client, retry_after_seconds, unexpected
from engine.logs import SecretMask
from engine.model import Blocker, ComponentHealth
from engine.text import clean_json, one_line

AUTH_HEADER = "X-Telegram-Bot-Api-Secret-Token"
HEALTH_SECONDS = 10.0
ANSWER_MARGIN_SECONDS = 10.0
"""How long the answer to a poll may take beyond the time Telegram was asked to wait."""
UPDATES = ["message", "edited_message"]
"""The kinds of update asked for; channel posts and group events are nobody's questions."""
_MEDIA = (
    ("photo", "image"),
    ("voice", "audio"),
    ("audio", "audio"),
    ("video", "video"),
    ("video_note", "video"),
    ("animation", "video"),
    ("document", "document"),
    ("sticker", "sticker"),
    ("location", "location"),
    ("venue", "location"),
    ("contact", "contact"),
    ("poll", "poll"),
    ("dice", "dice"),
)
"""A message's field, and the kind it makes the message."""


class TelegramChannel:
    """One bot."""

    name = "telegram"

    def __init__(self, settings: TelegramAccount) -> None:
        self.account = settings.account
        self._settings = settings
        self._polls = not settings.webhook_secrets
        self._client: httpx.AsyncClient = http_client()
        token = settings.bot_token.get_secret_value()
        self._mask = SecretMask([token, token.partition(":")[2]])
        self.capabilities = Capabilities(
            receipts=False,
            webhook=not self._polls,
            polling=self._polls,
            max_text=4096,
            text_unit="utf16",
            per_second=30.0,
            recipient_gap_seconds=1.0,
        )

    async def _call(self, method: str, body: Mapping[str, Any], timeout: float) -> Answer:
        """One method of the Bot API. The URL holds the token, so it must not get into any message."""
        token = self._settings.bot_token.get_secret_value()
        return await exchange(
            self._client,
            "POST",
            f"{self._settings.api_base}/bot{token}/{method}",
            timeout=timeout,
            mask=self._mask,
            json_body=body,
        )

    # Sending

    async def send(self, outgoing: Outgoing, *, timeout: float) -> Sent:
        return await send_in_parts(outgoing, self.capabilities, self._send_part, timeout=timeout)

    async def _send_part(self, outgoing: Outgoing, _part: int, timeout: float) -> Sent:
        body: dict[str, Any] = {"chat_id": outgoing.to, "text": outgoing.text}
        number = (outgoing.reply_to or "").rpartition(":")[2]
        if number.isdecimal():
            body["reply_parameters"] = {"message_id": int(number), "allow_sending_without_reply": True}
        answer = await self._call("sendMessage", body, timeout)
        if 200 <= answer.status < 300 and answer.get("ok") is True:
            number = identifier(answer.get("result", "message_id"))
            chat = identifier(answer.get("result", "chat", "id")) or outgoing.to
            return Sent(self._provider_id(chat, number) if number else None, accepted=not number)
        raise self._send_error(answer)

    def _provider_id(self, chat: str, number: str) -> str:
        return f"{self._settings.bot_id}:{chat}:{number}"

    def _send_error(self, answer: Answer) -> SendError:
        if answer.get("ok") is not False:
            return unexpected(answer, "Telegram")
        told = _description(answer)
        code = answer.get("error_code")
        status = code if isinstance(code, int) else answer.status
        if blocker := self._blocker(status, told):
            return SendError(SendFailure.CHANNEL_DOWN, told, blocker=blocker, code=str(status))
        if status == 429:
            wait = retry_after_seconds(answer.get("parameters", "retry_after"))
            return SendError(
                SendFailure.RATE,
                told,
                retry_after=wait if wait is not None else answer.retry_after,
                code="429",
            )
        if 400 <= status < 500:  # also 403: this customer has blocked the bot
            return SendError(SendFailure.PERMANENT, told, code=str(status))
        return SendError(SendFailure.UNKNOWN, told, code=str(status))

    def _blocker(self, status: int, told: str) -> Blocker | None:
        """What stops the whole bot, if that status does."""
        if status in {401, 404}:  # a malformed token makes the path unknown
            return channel_blocker(
                self,
                "auth",
                f"Telegram refuses the bot's token ({told}).",
                "Ask @BotFather for the token, set TELEGRAM_BOT_TOKEN and restart.",
            )
        if status == 409 and "webhook" in told.lower():
            return self._webhook_in_the_way()
        if status == 409:
            return channel_blocker(
                self,
                "conflict",
                "Another program polls this bot, and Telegram serves only one.",
                "Stop the other program, or give this engine a bot of its own.",
            )
        return None

    def _webhook_in_the_way(self) -> Blocker:
        return channel_blocker(
            self,
            "conflict",
            "A webhook is set for this bot, so it cannot be polled.",
            "Call the Bot API's deleteWebhook, or set TELEGRAM_WEBHOOK_SECRET to receive by webhook.",
        )

    # Receiving

    async def poll(self, offset: int | None, *, timeout: float) -> Polled:
        """Waits up to `timeout` seconds for updates from `offset` on."""
        body: dict[str, Any] = {"timeout": int(timeout), "limit": 100, "allowed_updates": UPDATES}
        if offset is not None:
            body["offset"] = offset
        try:
            answer = await self._call("getUpdates", body, timeout + ANSWER_MARGIN_SECONDS)
        except SendError as error:
            raise PollError(error.message) from None
        updates = answer.get("result")
        if answer.get("ok") is not True or not isinstance(updates, list):
            raise self._poll_error(answer)
        numbers = [int(update["update_id"]) for update in updates if _has_number(update)]
        return Polled(self._read(self.account, updates), max(numbers) + 1 if numbers else offset)

    def _poll_error(self, answer: Answer) -> PollError:
        told = _description(answer)
        code = answer.get("error_code")
        wait = retry_after_seconds(answer.get("parameters", "retry_after"))
        blocker = self._blocker(code if isinstance(code, int) else answer.status, told)
        return PollError(told, retry_after=wait, blocker=blocker)

    def parse_webhook(
        self, account: str, headers: Mapping[str, str], raw: bytes, *, path_secret: str | None = None
    ) -> Parsed:
        check_secret(header(headers, AUTH_HEADER), self._settings.webhook_secrets)
        try:
            update = read_json(raw)
        except ValueError:
            found = Collector()
            found.quarantine("not JSON", raw)
            return found.parsed()
        return self._read(account, [update])

    def _read(self, account: str, updates: list[Any]) -> Parsed:
        found = Collector()
        found.each(updates, partial(self._read_update, found, account))
        return found.parsed()

    def _read_update(self, found: Collector, account: str, update: Any) -> None:
        if not isinstance(update, dict):
            raise Unreadable("an update that is no object")
        edited = update.get("message") is None
        message = update.get("edited_message" if edited else "message")
        if message is None and _has_number(update):
            found.ignored += 1
            return
        if not isinstance(message, dict):
            raise Unreadable("an update without a message")
        chat, number = identifier(message["chat"]["id"]), identifier(message["message_id"])
        if not chat or not number:
            raise Unreadable("no chat or no message id")
        kind, text = _content(message)
        if message["chat"].get("type") != "private" or kind is None:
            found.ignored += 1
            return
        if edited:
            at = moment(message.get("edit_date"))
            found.edits.append(
                Edit(account=account, provider_message_id=self._provider_id(chat, number), text=text, at=at)
            )
            return
        sender = mapping(message.get("from"))
        quoted = identifier(mapping(message.get("reply_to_message")).get("message_id"))
        names = (words(sender.get("first_name")), words(sender.get("last_name")))
        found.inbounds.append(
            Inbound(
                account=account,
                address=chat,
                provider_message_id=self._provider_id(chat, number),
                text=text,
                provider_timestamp=moment(message.get("date")),
                kind=kind,
                profile_name=" ".join(filter(None, names)) or words(sender.get("username")) or None,
                reply_to=self._provider_id(chat, quoted) if quoted else None,
                raw=clean_json(message) | {"from": chat, "sender": clean_json(sender)},
            )
        )

    # Health

    async def health(self) -> ComponentHealth:
        now = datetime.now(UTC)
        try:
            me = await self._call("getMe", {}, HEALTH_SECONDS)
            hook = await self._call("getWebhookInfo", {}, HEALTH_SECONDS)
        except SendError as error:
            blocker = channel_blocker(
                self, "unreachable", error.message, "Check that this machine reaches Telegram."
            )
            return channel_health(self, "down", error.message, at=now, blocker=blocker)
        if me.get("ok") is not True:
            told = _description(me)
            return channel_health(self, "down", told, at=now, blocker=self._blocker(me.status, told))
        detail = f"@{one_line(words(me.get('result', 'username')), 60)}"
        url = words(hook.get("result", "url"))
        if self._polls and url:
            return channel_health(self, "down", detail, at=now, blocker=self._webhook_in_the_way())
        if not self._polls and not url:
            blocker = channel_blocker(
                self,
                "no_webhook",
                "Telegram has no webhook for this bot, so nothing can come in.",
                "Call the Bot API's setWebhook with this engine's URL and the secret, or unset "
                "TELEGRAM_WEBHOOK_SECRET to poll instead.",
            )
            return channel_health(self, "down", detail, at=now, blocker=blocker)
        trouble = one_line(words(hook.get("result", "last_error_message")), 150) if url else ""
        if trouble and hook.get("result", "pending_update_count"):
            return channel_health(self, "degraded", f"{detail}: webhook answers {trouble}", at=now)
        return channel_health(self, "up", detail, at=now)

    async def aclose(self) -> None:
        await self._client.aclose()


def _has_number(update: Any) -> bool:
    return isinstance(update, dict) and positive(update.get("update_id")) is not None


def _description(answer: Answer) -> str:
    told = one_line(words(answer.get("description")), 200)
    return f"Telegram answered {answer.status}: {told or answer.text or 'nothing'}"


def _content(message: Mapping[str, Any]) -> tuple[str | None, str]:
    """A message's kind and text; no kind for service messages."""
    if isinstance(message.get("text"), str):
        return "text", words(message["text"])
    for field, kind in _MEDIA:
        if field in message:
            emoji = words(mapping(message[field]).get("emoji"))
            return kind, words(message.get("caption")) or _place(message) or emoji
    return None, ""


def _place(message: Mapping[str, Any]) -> str:
    """A venue's name and address, or a contact's name."""
    venue, contact = mapping(message.get("venue")), mapping(message.get("contact"))
    parts = [venue.get("title"), venue.get("address"), contact.get("first_name"), contact.get("phone_number")]
    return ", ".join(filter(None, map(words, parts)))
