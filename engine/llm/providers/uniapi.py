"""UniAPI, the default for all tasks: one gateway to many vendors' models."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from engine.llm.failures import ProviderFailure
from engine.llm.pricing import bare_model, family_of
from engine.llm.providers.answer import Completion
from engine.llm.providers.base import Balance, ChatClient, ChatRequest, chat_body, one_token

#: Turns thinking off on this route (documented for Gemini 2.5).
REASONING_OFF = {"max_tokens": 0}
#: A balance beyond this is no balance.
MOST_USD = 10_000_000


class UniAPI:
    """`POST /chat/completions`, `GET /models`, `GET /billing/usage` at https://api.uniapi.io/v1."""

    name = "uniapi"
    key_setting = "UNIAPI_API_KEY"
    money_remedy = "Top up the UniAPI account."

    def __init__(self, base_url: str, api_key: SecretStr | None, *, http2: bool = False) -> None:
        self._client = ChatClient(self.name, base_url, api_key, self.key_setting, http2=http2)
        self._always_thinking: set[str] = set()
        """Models that refused to have thinking turned off."""

    @property
    def problem(self) -> str | None:
        return self._client.problem

    async def complete(self, request: ChatRequest, *, timeout: float) -> Completion:
        """The reply, within `timeout` seconds. Raises ProviderFailure."""
        defaults = self._defaults(request.model)
        try:
            return await self._client.chat(chat_body(request, defaults), timeout=timeout)
        except ProviderFailure as failure:
            if defaults and "reasoning" not in request.params and _refuses_reasoning(failure):
                self._always_thinking.add(request.model)
                failure.adapted = True
            raise

    async def probe(self, model: str, *, timeout: float, down: bool) -> bool:
        """Lists the models; while down, asks for one token, since an empty account lists them too."""
        if down:
            await one_token(self._client, model, self._defaults(model), timeout)
        else:
            await self._client.get("/models", timeout=timeout)
        return True

    async def balance(self, *, timeout: float) -> Balance | None:
        """USD left on the account; -1 says that it has no limit. Raises ProviderFailure."""
        answer = await self._client.get("/billing/usage?unit=usd", timeout=timeout)
        data = answer.get("data")
        usd = data.get("balance") if isinstance(data, dict) else None
        if isinstance(usd, bool) or not isinstance(usd, int | float) or not -MOST_USD < usd < MOST_USD:
            return None
        return Balance(None if usd == -1 else float(usd))

    async def aclose(self) -> None:
        await self._client.aclose()

    def _defaults(self, model: str) -> dict[str, Any]:
        if model in self._always_thinking or family_of(bare_model(model)) != "google":
            return {}
        return {"reasoning": REASONING_OFF}


def _refuses_reasoning(failure: ProviderFailure) -> bool:
    """True for a 400 about the `reasoning` object or about the thinking it turns off."""
    text = failure.message.lower()
    return failure.http_status == 400 and ("reasoning" in text or "thinking" in text)
