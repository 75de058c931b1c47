"""A stand-in for an Evolution API server."""

from __future__ import annotations

from typing import Any

from engine.demo.loopback import Reply, Request, reply
from tests.support.far_ends.service import Service

API_KEY = "B6D711FC-evolution-key-of-the-test"
INSTANCE = "shop"


def failure(status: int, error: str, message: Any) -> Reply:
    return reply({"status": status, "error": error, "response": {"message": message}}, status)


class EvolutionService(Service):
    """Knows one instance; `state` is its connection."""

    def __init__(self) -> None:
        super().__init__()
        self.state = "open"
        self._sent = 0

    def answer(self, request: Request) -> Reply:
        if request.headers.get("apikey") != API_KEY or not self.healthy:
            return failure(401, "Unauthorized", "Unauthorized")
        if not request.path.endswith(f"/{INSTANCE}"):
            name = request.path.rpartition("/")[2]
            return failure(404, "Not Found", [f'The "{name}" instance does not exist'])
        if request.path.startswith("/instance/connectionState/"):
            return reply({"instance": {"instanceName": INSTANCE, "state": self.state}})
        if request.path.startswith("/message/sendText/"):
            return self._message(request.json() or {})
        return failure(404, "Not Found", ["Cannot find that"])

    def _message(self, body: dict[str, Any]) -> Reply:
        if not body.get("text"):
            return failure(400, "Bad Request", [['instance requires property "text"']])
        self._sent += 1
        number = body["number"]
        whole = {
            "key": {"remoteJid": f"{number}@s.whatsapp.net", "fromMe": True, "id": f"3EB0E{self._sent:011}"},
            "status": "PENDING",
            "message": {"conversation": body["text"]},
            "messageType": "conversation",
            "messageTimestamp": 1771509600,
        }
        without_id = reply({"status": "PENDING"}, 201)
        return self.send(number, body, body["text"], reply(whole, 201), without_id=without_id)

    def refusal(self, fault: str) -> Reply | None:
        nobody = [{"jid": "49@s.whatsapp.net", "exists": False, "number": "49"}]
        return {
            "rejected": failure(400, "Bad Request", nobody),
            "locked_out": failure(401, "Unauthorized", "Unauthorized"),
            "rate": reply(
                {"status": 429, "error": "Too Many Requests"}, 429, retry_after=str(self.retry_after)
            ),
            "server_error": failure(500, "Internal Server Error", "Cannot read properties of undefined"),
            "connection_closed": failure(400, "Bad Request", ["Error: Connection Closed"]),
        }.get(fault)
