"""What LLM providers answer: a reply that can be sent and paid for, or a failure with its class, without our key."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
from pydantic import SecretStr

from engine.llm.failures import ProviderFailure
from engine.llm.providers.answer import Completion
from engine.llm.providers.base import ChatRequest, Provider
from engine.llm.providers.uniapi import UniAPI
from engine.llm.providers.zai import ZAI
from engine.observe import sanitise
from tests.fuzz.far import STATUSES, WAITS
from tests.fuzz.targets.target import Target, storable, texts_in
from tests.fuzz.test_llm_answers import ANSWERS, ASK, KEY, MODELS, check_failure, check_usage

HEADERS: list[dict[str, str]] = [{} if wait is None else {"retry-after": wait} for wait in WAITS]
HEADERS += [{"retry-after-ms": "1500"}, {"content-encoding": "gzip"}, {"content-encoding": "deflate"}]
HEADERS += [{"retry-after": "Wed, 21 Oct 2099 07:28:00 +9999999999999"}, {"content-type": "text/html"}]


class FarEnd:
    """Answers everything with `answer`, without a network."""

    def __init__(self) -> None:
        self.answer: Callable[[], httpx.Response] = partial(httpx.Response, 200)
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: self.answer()))
        self.loop = asyncio.new_event_loop()

    def says(self, data: bytes) -> int:
        """The first byte chooses a status, the second headers, the rest is the body. Returns the status."""
        status = STATUSES[data[0] % len(STATUSES)] if data else 200
        chosen = HEADERS[data[1] % len(HEADERS)] if len(data) > 1 else {}
        headers = [(name.encode(), value.encode()) for name, value in chosen.items()]
        if data[1:2] == b"\xff":  # any text as a time, up to the body's first line end
            headers = [(b"retry-after", data[2:].partition(b"\n")[0])]
        self.answer = lambda: httpx.Response(status, headers=headers, stream=httpx.ByteStream(data[2:]))
        return status

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)


class Asked:
    """One provider, asked everything it can be asked."""

    def __init__(self, build: type[UniAPI] | type[ZAI]) -> None:
        self.far = FarEnd()
        self.provider: Provider = build("http://far.example", SecretStr(KEY))
        self.provider._client._http = self.far.client  # type: ignore[attr-defined]

    def __call__(self, data: bytes) -> None:
        status = self.far.says(data)
        name = self.provider.name
        try:
            request = ChatRequest(MODELS[name], ASK, max_tokens=50)
            answer = self.far.run(self.provider.complete(request, timeout=5))
        except ProviderFailure as failure:
            check_failure(name, failure)
            assert sanitise(failure.message) == failure.message
        else:
            assert isinstance(answer, Completion)
            assert 200 <= status < 300
            assert answer.text.strip()
            assert not any(KEY in told for told in texts_in([answer.text, answer.usage, answer.request_id]))
            storable([answer.text, answer.request_id, answer.finish_reason])
            check_usage(name, answer.usage)
        for question in (
            self.provider.probe(MODELS[name], timeout=5, down=False),
            self.provider.probe(MODELS[name], timeout=5, down=True),
            self.provider.balance(timeout=5),
        ):
            try:
                self.far.run(question)
            except ProviderFailure as failure:
                check_failure(name, failure)


def seeds() -> list[bytes]:
    bodies = [json.dumps(answer).encode() for answer in ANSWERS]
    bodies += [json.dumps(ANSWERS[0] | {"usage": {"prompt_tokens": -1, "total_tokens": 10**30}}).encode()]
    bodies += [b"<html><title>Just a moment</title>", b"\n\n{}", b'{"error": 1, "code": 1302}']
    found = [b"\x00\x00" + body for body in bodies] + [b"\x11\x01" + body for body in bodies[4:]]
    return [*found, b"\x11\xffWed, 21 Oct 2099 07:28:00 GMT\n{}", b"\x11\xff 1.5 \n{}"]


TARGETS = [
    Target("answer-uniapi", Asked(UniAPI), seeds, head=2),
    Target("answer-zai", Asked(ZAI), seeds, head=2),
]
