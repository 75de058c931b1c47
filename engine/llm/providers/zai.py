"""Z.ai, the fallback: GLM models, an OpenAI-style API with its own error codes."""

from __future__ import annotations

from pydantic import SecretStr

from engine.llm.providers.answer import Completion
from engine.llm.providers.base import Balance, ChatClient, ChatRequest, chat_body, one_token

#: GLM-4.7 and later think by default, which eats a short reply's `max_tokens`.
DEFAULTS = {"thinking": {"type": "disabled"}}

#: Z.ai lists no models; these are the ones it documents (2026-11).
CATALOGUE = (
    "glm-4.7-flash",
    "glm-4.7-flashx",
    "glm-4.7",
    "glm-4.6",
    "glm-4.5-air",
    "glm-4.5-flash",
    "glm-5",
)


class ZAI:
    """`POST /chat/completions` at https://api.z.ai/api/paas/v4; there is nothing else to ask it."""

    name = "zai"
    key_setting = "ZAI_API_KEY"
    money_remedy = (
        "Top up the Z.ai account. A Coding-Plan key is refused in the same words: it needs "
        "ZAI_BASE_URL=https://api.z.ai/api/coding/paas/v4."
    )

    def __init__(self, base_url: str, api_key: SecretStr | None, *, http2: bool = False) -> None:
        self._client = ChatClient(self.name, base_url, api_key, self.key_setting, http2=http2)

    @property
    def problem(self) -> str | None:
        return self._client.problem

    async def complete(self, request: ChatRequest, *, timeout: float) -> Completion:
        """The reply, within `timeout` seconds. Raises ProviderFailure."""
        return await self._client.chat(chat_body(request, DEFAULTS), timeout=timeout)

    async def probe(self, model: str, *, timeout: float, down: bool) -> bool:
        """Asks for one token while down; otherwise there is nothing that costs nothing."""
        if down:
            await one_token(self._client, model, DEFAULTS, timeout)
        return down

    async def balance(self, *, timeout: float) -> Balance | None:
        """None: its API does not tell."""
        return None

    async def aclose(self) -> None:
        await self._client.aclose()
