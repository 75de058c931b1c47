"""A stand-in for a WAHA server."""

from __future__ import annotations

from typing import Any

from engine.demo.loopback import Reply, Request, reply
from tests.support.far_ends.service import Service

API_KEY = "waha-key-of-the-test"
SESSION = "default"


class WahaService(Service):
    """Knows one session; `state` is its status."""

    def __init__(self) -> None:
        super().__init__()
        self.state = "WORKING"
        self.lids: dict[str, str] = {}
        self._sent = 0

    def answer(self, request: Request) -> Reply:
        if request.headers.get("x-api-key") != API_KEY or not self.healthy:
            return reply({"message": "Unauthorized", "statusCode": 401}, 401)
        if request.path == "/api/sendText":
            return self._message(request.json() or {})
        if request.path == f"/api/sessions/{SESSION}":
            return reply({"name": SESSION, "status": self.state, "me": {"id": "4915000@c.us"}})
        if request.path.startswith("/api/sessions/"):
            return reply({"message": "Session not found", "error": "Not Found", "statusCode": 404}, 404)
        prefix = f"/api/{SESSION}/lids/"
        if request.path.startswith(prefix):
            lid = request.path.removeprefix(prefix).replace("%40", "@")
            return reply({"lid": lid, "pn": self.lids.get(lid)}, 200 if lid in self.lids else 404)
        return reply({"message": "Not Found"}, 404)

    def _message(self, body: dict[str, Any]) -> Reply:
        if body.get("session") != SESSION:
            name = body.get("session")
            return reply({"error": f'Session "{name}" does not exist', "session": name}, 422)
        if self.state != "WORKING":
            error = "Session status is not as expected. Try again later or restart the session"
            told = {"error": error, "session": SESSION, "status": self.state, "expected": ["WORKING"]}
            return reply(told, 422)
        self._sent += 1
        good = {"id": f"true_{body['chatId']}_3EB0{self._sent:012}", "body": body["text"], "fromMe": True}
        return self.send(body["chatId"], body, body["text"], reply(good, 201), without_id=reply({}, 201))

    def refusal(self, fault: str) -> Reply | None:
        return {
            "rejected": reply({"message": "No LID for user", "statusCode": 400}, 400),
            "locked_out": reply({"message": "Unauthorized", "statusCode": 401}, 401),
            "rate": reply({"message": "Too many requests"}, 429, retry_after=str(self.retry_after)),
            "server_error": reply({"statusCode": 500, "message": "Protocol error: Target closed"}, 500),
            "new_contact": reply(
                {"statusCode": 500, "exception": {"message": "server returned error 463"}}, 500
            ),
        }.get(fault)
