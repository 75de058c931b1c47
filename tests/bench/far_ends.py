"""Far ends in process: an LLM provider that answers after a while, and a channel that takes everything at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import count

from engine.channels.base import Capabilities, Outgoing, Parsed, Sent, channel_health
from engine.llm.providers.answer import Completion
from engine.llm.providers.base import Balance, ChatRequest
from engine.llm.router import Router
from engine.model import ComponentHealth, Usage
from tests.bench.past import REPLY


class StubProvider:
    """Answers every request in process, after `seconds`."""

    name = "uniapi"
    key_setting = "UNIAPI_API_KEY"
    money_remedy = ""
    problem = None

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    async def complete(self, request: ChatRequest, *, timeout: float) -> Completion:
        if self._seconds:
            await asyncio.sleep(self._seconds)
        usage = Usage(prompt_tokens=123, completion_tokens=45, total_tokens=168)
        return Completion(REPLY, "stop", "req-0123456789", usage)

    async def probe(self, model: str, *, timeout: float, down: bool) -> bool:
        return True

    async def balance(self, *, timeout: float) -> Balance | None:
        return None

    async def aclose(self) -> None:
        return None


def stub_router(seconds: float) -> Router:
    """The engine's own router over a provider that answers after `seconds`."""
    return Router({"uniapi": StubProvider(seconds)})


class StubChannel:
    """Takes every message at once."""

    name = "whatsapp"
    account = "default"
    capabilities = Capabilities(receipts=False, webhook=False, polling=False, max_text=4096, window_24h=True)

    def __init__(self) -> None:
        self._ids = count(1)

    async def send(self, outgoing: Outgoing, *, timeout: float) -> Sent:
        return Sent(f"stub-{next(self._ids)}")

    async def health(self) -> ComponentHealth:
        return channel_health(self, "up")

    def parse_webhook(
        self, account: str, headers: Mapping[str, str], raw: bytes, *, path_secret: str | None = None
    ) -> Parsed:
        return Parsed()

    async def aclose(self) -> None:
        return None
