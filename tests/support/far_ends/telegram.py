"""A stand-in for the Telegram Bot API."""

from __future__ import annotations

from typing import Any

from engine.demo.loopback import Reply, Request, reply
from tests.support.far_ends.service import Service

TOKEN = "123456:AAF-telegram-token-of-the-test"
USERNAME = "shop_bot"


def failure(code: int, description: str, **parameters: int) -> Reply:
    body: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
    if parameters:
        body["parameters"] = parameters
    return reply(body, code)


class TelegramService(Service):
    """Knows one bot. `updates` are given out by getUpdates and forgotten when a later offset is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.updates: list[dict[str, Any]] = []
        self.webhook_url = ""
        self.last_error = ""
        self.poll_failure: Reply | None = None
        self._sent = 1000

    def answer(self, request: Request) -> Reply:
        if not request.path.startswith(f"/bot{TOKEN}/"):
            return failure(404 if ":" not in request.path else 401, "Unauthorized")
        body, method = request.json() or {}, request.path.rpartition("/")[2]
        if not self.healthy:
            return failure(401, "Unauthorized")
        if method == "getMe":
            return reply({"ok": True, "result": {"id": 123456, "is_bot": True, "username": USERNAME}})
        if method == "getWebhookInfo":
            info = {"url": self.webhook_url, "pending_update_count": 3, "last_error_message": self.last_error}
            return reply({"ok": True, "result": info})
        if method == "getUpdates":
            return self._updates(body)
        if method == "sendMessage":
            return self._message(body)
        return failure(404, "Not Found")

    def _updates(self, body: dict[str, Any]) -> Reply:
        if self.poll_failure is not None:
            return self.poll_failure
        if self.webhook_url:
            return failure(409, "Conflict: can't use getUpdates method while webhook is active")
        self.updates = [one for one in self.updates if one.get("update_id", 0) >= body.get("offset", 0)]
        return reply({"ok": True, "result": self.updates[: body.get("limit", 100)]})

    def _message(self, body: dict[str, Any]) -> Reply:
        text = body.get("text") or ""
        if len(text.encode("utf-16-le")) // 2 > 4096:
            return failure(400, "Bad Request: message is too long")
        self._sent += 1
        result = {"message_id": self._sent, "chat": {"id": body["chat_id"]}, "date": 1771509600, "text": text}
        return self.send(
            str(body["chat_id"]),
            body,
            text,
            reply({"ok": True, "result": result}),
            without_id=reply({"ok": True, "result": True}),
        )

    def refusal(self, fault: str) -> Reply | None:
        return {
            "rejected": failure(400, "Bad Request: chat not found"),
            "blocked": failure(403, "Forbidden: bot was blocked by the user"),
            "locked_out": failure(401, "Unauthorized"),
            "rate": failure(429, "Too Many Requests: retry later", retry_after=self.retry_after),
            "server_error": failure(500, "Internal Server Error: restart"),
        }.get(fault)
