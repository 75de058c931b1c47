"""The simulated channel's far end, in the shape of the other services."""

from __future__ import annotations

from engine.demo.loopback import Reply, Request, reply
from tests.support.far_ends.service import Service


class SimulatorService(Service):
    """Takes messages at `/messages`."""

    def __init__(self) -> None:
        super().__init__()
        self._sent = 0

    def answer(self, request: Request) -> Reply:
        if not self.healthy:
            return reply({"error": {"code": "locked_out", "message": "No."}}, 401)
        if request.path == "/health":
            return reply({"ok": True})
        body = request.json() or {}
        self._sent += 1
        return self.send(
            body["to"], body, body["text"], reply({"id": f"s{self._sent}"}), without_id=reply({})
        )

    def refusal(self, fault: str) -> Reply | None:
        return {
            "rejected": reply({"error": {"code": "rejected", "message": "Never."}}, 400),
            "locked_out": reply({"error": {"code": "locked_out", "message": "No."}}, 401),
            "rate": reply(
                {"error": {"code": "rate", "message": "Slower."}}, 429, retry_after=str(self.retry_after)
            ),
            "server_error": reply({"error": {"code": "internal"}}, 500),
        }.get(fault)
