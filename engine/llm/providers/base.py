"""What the router needs of a provider, and the OpenAI-style HTTP client that both providers share."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

import httpx
from pydantic import SecretStr

from engine.keepalive import close_if_more_came
from engine.llm.failures import ProviderFailure, classify
from engine.llm.providers.answer import Completion, read_completion, read_json
from engine.llm.providers.transport import client_transport
from engine.logs import SecretMask
from engine.model import FailureClass, LLMMessage

#: Bytes of an answer that are read; a larger one is a failure, not a memory problem.
MAX_ANSWER = 2 * 2**20
#: Calls one provider carries at once.
MAX_CONNECTIONS = 1024
CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat completion to ask for."""

    model: str
    messages: Sequence[LLMMessage]
    max_tokens: int | None = None
    temperature: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    """Further body fields; None takes a default field of the provider out."""


@dataclass(frozen=True, slots=True)
class Balance:
    """What is left on a provider's account."""

    usd: float | None
    """Negative when it is overdrawn; None when it has no limit."""


class Provider(Protocol):
    """A far end that answers chat completions."""

    @property
    def name(self) -> str: ...

    @property
    def key_setting(self) -> str:
        """The environment variable that holds the API key."""
        ...

    @property
    def money_remedy(self) -> str:
        """What to do when the account is out of money."""
        ...

    @property
    def problem(self) -> str | None:
        """Why it cannot be called at all (no API key), or None."""
        ...

    async def complete(self, request: ChatRequest, *, timeout: float) -> Completion:
        """The reply, within `timeout` seconds. Raises ProviderFailure."""
        ...

    async def probe(self, model: str, *, timeout: float, down: bool) -> bool:
        """Asks whether calls would work; False when there is nothing to ask. Raises ProviderFailure.

        While `down`, only a real completion proves anything: an empty account still lists its models.
        """
        ...

    async def balance(self, *, timeout: float) -> Balance | None:
        """What is left on the account, within `timeout` seconds; None when it does not tell. Raises ProviderFailure."""
        ...

    async def aclose(self) -> None: ...


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


def chat_body(request: ChatRequest, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON body of a request: `defaults`, then what the request says, then its `params`."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": m.role, "content": m.content} for m in request.messages],
        **defaults,
    }
    if request.max_tokens is not None:
        body["max_tokens"] = request.max_tokens
    if request.temperature is not None:
        body["temperature"] = request.temperature
    body.update(request.params)
    return {name: value for name, value in body.items() if value is not None}


class ChatClient:
    """OpenAI-style HTTP over one pool of kept-alive connections. Every trouble is a ProviderFailure."""

    def __init__(
        self,
        provider: str,
        base_url: str,
        api_key: SecretStr | None,
        key_setting: str,
        *,
        http2: bool = False,
    ) -> None:
        """`http2`: spoken where the far end has it."""
        self.provider = provider
        self._key = api_key.get_secret_value().strip() if api_key else ""
        self._mask = SecretMask([self._key])
        self.problem = _key_problem(self._key, key_setting)
        self._base_url = base_url.rstrip("/")
        usable = {} if self.problem else {"Authorization": f"Bearer {self._key}"}
        self._http = httpx.AsyncClient(
            headers={**usable, "Accept": "application/json", "Accept-Encoding": "identity"},
            transport=client_transport(base_url, MAX_CONNECTIONS, http2=http2),
            http2=http2,
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS),  # of httpx's own transport, behind a proxy
            follow_redirects=False,
        )

    async def chat(self, body: Mapping[str, Any], *, timeout: float) -> Completion:
        """The completion of `body` within `timeout` seconds. Raises ProviderFailure."""
        content = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        answer = await self._exchange("POST", "/chat/completions", content, timeout)
        data = self._accepted(answer)
        if "choices" not in data and ("error" in data or "code" in data):  # an error dressed as a 200
            raise self._refusal(answer)
        return read_completion(data)

    async def get(self, path: str, *, timeout: float) -> dict[str, Any]:
        """The JSON object at `path` within `timeout` seconds. Raises ProviderFailure."""
        return self._accepted(await self._exchange("GET", path, None, timeout))

    async def aclose(self) -> None:
        await self._http.aclose()

    def _accepted(self, answer: _Answer) -> dict[str, Any]:
        if not 200 <= answer.status < 300:
            raise self._refusal(answer)
        masked: dict[str, Any] = self._mask.within(read_json(answer.body))
        return masked

    def _refusal(self, answer: _Answer) -> ProviderFailure:
        """The failure an answer stands for."""
        failure = classify(self.provider, answer.status, answer.headers, answer.body, now=datetime.now(UTC))
        failure.message = self._mask(failure.message)
        failure.code, failure.request_id = (
            self._mask.within(failure.code),
            self._mask.within(failure.request_id),
        )
        return failure

    async def _exchange(self, method: str, path: str, content: bytes | None, timeout: float) -> _Answer:
        request = self._http.build_request(
            method,
            self._base_url + path,
            content=content,
            headers={"Content-Type": "application/json"} if content is not None else None,
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS)),
        )
        try:
            async with asyncio.timeout(timeout):  # httpx limits each read; a slow drip passes that
                response = await self._http.send(request, stream=True)
                try:
                    body = self._mask.raw(await _read(response))
                    await close_if_more_came(response)
                    return _Answer(response.status_code, response.headers, body)
                finally:
                    await response.aclose()
        except httpx.ConnectTimeout:
            raise _transient(
                f"no connection within {min(timeout, CONNECT_SECONDS):.1f} s", timed_out=True
            ) from None
        except (TimeoutError, httpx.TimeoutException):
            raise _transient(f"no answer within {timeout:.1f} s", timed_out=True) from None
        except httpx.ConnectError as error:
            raise _transient(f"cannot connect: {error}") from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            told = str(error).partition("bytearray(")[0]  # h11 quotes the far end, which may quote our key
            raise _transient(f"the connection broke: {told or type(error).__name__}") from None


async def one_token(client: ChatClient, model: str, defaults: Mapping[str, Any], timeout: float) -> None:
    """The smallest real completion. Raises ProviderFailure unless the far end did the work."""
    hello = ChatRequest(model, [LLMMessage(role="user", content="hi")], max_tokens=1)
    try:
        await client.chat(chat_body(hello, defaults), timeout=timeout)
    except ProviderFailure as failure:
        if failure.failure not in (FailureClass.STARVED, FailureClass.EMPTY):
            raise


async def _read(response: httpx.Response) -> bytes:
    """The body, at most MAX_ANSWER bytes of it, unpacked if the far end packed it unasked."""
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_raw():
        size += len(part)
        if size > MAX_ANSWER:
            raise _too_large()
        parts.append(part)
    body = b"".join(parts)
    if response.headers.get("content-encoding", "identity") in ("gzip", "deflate"):
        try:
            body = zlib.decompressobj(47).decompress(body, MAX_ANSWER + 1)  # 47: gzip or zlib
        except zlib.error:
            raise _transient("the answer is packed and does not unpack") from None
        if len(body) > MAX_ANSWER:
            raise _too_large()
    return body


def _too_large() -> ProviderFailure:
    return _transient(f"the answer is larger than {MAX_ANSWER // 2**20} MB")


def _transient(message: str, *, timed_out: bool = False) -> ProviderFailure:
    return ProviderFailure(FailureClass.TRANSIENT, message, timed_out=timed_out)


def _key_problem(key: str, setting: str) -> str | None:
    if not key:
        return f"{setting} is not set"
    if not (key.isascii() and key.isprintable()) or " " in key:
        return f"{setting} holds characters that no API key has"
    return None
