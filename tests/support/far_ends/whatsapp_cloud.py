"""A stand-in for Meta's Graph API, as far as WhatsApp goes."""

from __future__ import annotations

from typing import Any

from engine.demo.loopback import Reply, Request, reply
from tests.support.far_ends.service import Service

TOKEN = "EAAG-cloud-token-of-the-test"
NUMBER_ID = "106540352242922"


def failure(status: int, code: int, message: str, **more: Any) -> Reply:
    error = {"message": f"(#{code}) {message}", "type": "OAuthException", "code": code, **more}
    return reply({"error": error | {"fbtrace_id": "Az8or2yhqkZfEZ-_4Qn_Bam"}}, status)


class WhatsAppCloudService(Service):
    """Knows one phone number."""

    def __init__(self) -> None:
        super().__init__()
        self.quality = "GREEN"
        self.error: tuple[int, int] | None = None
        """Status and code that every send is answered with."""
        self._sent = 0

    def answer(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {TOKEN}" or not self.healthy:
            return failure(401, 190, "Error validating access token: Session has expired")
        if not request.path.startswith(f"/{NUMBER_ID}"):
            return failure(400, 100, "Unsupported request. Object does not exist", error_subcode=33)
        if request.method == "GET":
            number = {"display_phone_number": "+49 151 1234567", "verified_name": "Shop"}
            return reply(number | {"quality_rating": self.quality, "id": NUMBER_ID})
        return self._message(request.json() or {})

    def _message(self, body: dict[str, Any]) -> Reply:
        if self.error is not None:
            return failure(
                *self.error, "Documented elsewhere", error_data={"details": "Read the documentation"}
            )
        text = body.get("text", {}).get("body", "")
        if len(text) > 4096 or body.get("messaging_product") != "whatsapp":
            return failure(400, 100, "Invalid parameter")
        self._sent += 1
        good = {
            "messaging_product": "whatsapp",
            "contacts": [{"input": body["to"], "wa_id": body["to"]}],
            "messages": [{"id": f"wamid.HBgL{self._sent:04}", "message_status": "accepted"}],
        }
        bare = {"messaging_product": "whatsapp"}
        return self.send(body["to"], body, text, reply(good), without_id=reply(bare))

    def refusal(self, fault: str) -> Reply | None:
        return {
            "rejected": failure(400, 131026, "Message undeliverable"),
            "locked_out": failure(401, 190, "Error validating access token"),
            "rate": reply(
                {"error": {"message": "Rate limit hit", "code": 130429}},
                429,
                retry_after=str(self.retry_after),
            ),
            "server_error": failure(500, 1, "An unknown error occurred"),
        }.get(fault)
