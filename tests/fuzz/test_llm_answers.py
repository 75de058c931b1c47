"""What LLM providers answer, in any shape: a reply that can be sent and paid for, or a failure with its class."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from pydantic import SecretStr

from engine.demo.loopback import Reply
from engine.llm.failures import ProviderFailure
from engine.llm.pricing import price
from engine.llm.providers.answer import MAX_TOKENS, Completion
from engine.llm.providers.base import ChatRequest, Provider
from engine.llm.providers.uniapi import UniAPI
from engine.llm.providers.zai import ZAI
from engine.model import FailureClass, LLMMessage, Usage
from tests.fuzz.far import HUGE, Far, replies
from tests.fuzz.mutation import nested
from tests.fuzz.profile import fuzz

KEY = "key-of-the-provider-1234567890"
ASK = [LLMMessage(role="system", content="Answer."), LLMMessage(role="user", content="Hello?")]
CHAT = {
    "id": "chatcmpl-1",
    "request_id": "r1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "We are open.", "reasoning_content": "…"},
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 60},
        "completion_tokens_details": {"reasoning_tokens": 30},
    },
}
PARTS = {"choices": [{"message": {"content": [{"type": "text", "text": "Hi"}]}}], "usage": {}}
ANSWERS: tuple[Any, ...] = (
    CHAT,
    CHAT,
    CHAT,
    PARTS,
    {"error": {"message": f"Incorrect API key {KEY}", "type": "x", "code": "insufficient_quota"}},
    {"error": {"code": "1308", "message": "Your limit will reset at 2099-11-22 18:00:00"}},
    {"error": "plain"},
    {"message": "plain", "code": 1113},
    {"success": True, "data": {"balance": 12.5, "used": 1, "cache_used": 0}},
    {"object": "list", "data": [{"id": "m", "object": "model"}]},
)
MODELS = {"uniapi": "gemini-3-flash-preview", "zai": "glm-4.7"}


@pytest.fixture(scope="module")
def far() -> Iterator[Far]:
    with Far.serving() as far:
        yield far


@pytest.fixture(params=[UniAPI, ZAI], ids=["uniapi", "zai"])
def provider(request: pytest.FixtureRequest, far: Far) -> Iterator[Provider]:
    built: Provider = request.param(far.url, SecretStr(KEY))
    yield built
    far.run(built.aclose())


def storable(value: Any) -> None:
    written = json.dumps(value, allow_nan=False, ensure_ascii=False)
    written.encode()
    assert "\\u0000" not in written.replace("\\\\", "")


def check_usage(provider: str, usage: Usage | None) -> None:
    if usage is None:
        return
    for count in (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens):
        assert count is None or 0 <= count <= 2 * MAX_TOKENS
    storable(usage.raw_usage)
    cost = price(provider, MODELS[provider], usage)
    assert cost is None or (cost.is_finite() and cost >= Decimal(0))


def check_failure(provider: str, failure: ProviderFailure) -> None:
    assert failure.failure in FailureClass
    assert KEY not in f"{failure} {failure.code}"
    storable([failure.message, failure.code, failure.request_id, failure.finish_reason])
    assert failure.retry_after is None or failure.retry_after >= 0
    check_usage(provider, failure.usage)


def asked(far: Far, provider: Provider) -> Completion | ProviderFailure:
    try:
        return far.run(provider.complete(ChatRequest(MODELS[provider.name], ASK, max_tokens=50), timeout=5))
    except ProviderFailure as failure:
        check_failure(provider.name, failure)
        return failure


def test_any_answer_is_a_reply_or_a_failure_with_its_class(far: Far, provider: Provider) -> None:
    @given(replies(*ANSWERS))
    @example(Reply(200, HUGE))
    @example(Reply(200, json.dumps(CHAT | {"usage": nested(800)}).encode()))
    @fuzz(100)
    def hold(reply: Reply) -> None:
        far.reply = reply
        answer = asked(far, provider)
        if isinstance(answer, Completion):
            assert 200 <= reply.status < 300
            assert answer.text.strip()
            storable([answer.text, answer.request_id, answer.finish_reason])
            check_usage(provider.name, answer.usage)

    hold()


def test_a_good_answer_that_quotes_our_key_does_not_keep_it(far: Far, provider: Provider) -> None:
    said = {"message": {"content": f"The key is {KEY}."}, "finish_reason": KEY}
    body = json.dumps({"choices": [said], "usage": {"caller": KEY, KEY: 1}})
    for written in (body, body.replace("key-of", "k\\u0065y-of")):
        far.reply = Reply(200, written.encode())
        answer = asked(far, provider)
        assert isinstance(answer, Completion)
        assert KEY not in f"{answer}"


def test_any_answer_to_a_probe_or_about_money_is_survived(far: Far, provider: Provider) -> None:
    @given(replies(*ANSWERS))
    @fuzz(40)
    def hold(reply: Reply) -> None:
        far.reply = reply
        for question in (
            provider.probe(MODELS[provider.name], timeout=5, down=False),
            provider.probe(MODELS[provider.name], timeout=5, down=True),
            provider.balance(timeout=5),
        ):
            try:
                told = far.run(question)
            except ProviderFailure as failure:
                check_failure(provider.name, failure)
            else:
                usd = getattr(told, "usd", None)
                assert usd is None or abs(usd) < float("inf")

    hold()


@pytest.mark.parametrize(
    "count", [-1, 1.5, 10**30, float("nan"), float("inf"), "7", None, True, [], 2**31, nested(50)], ids=str
)
@pytest.mark.parametrize(
    "name", ["prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"]
)
def test_a_count_that_is_none_costs_nothing_and_the_reply_is_kept(
    far: Far, provider: Provider, name: str, count: Any
) -> None:
    far.reply = Reply(200, json.dumps(CHAT | {"usage": {**CHAT["usage"], name: count}}).encode())  # type: ignore[dict-item]
    answer = asked(far, provider)
    if isinstance(answer, ProviderFailure):  # NaN is no JSON
        assert answer.failure is FailureClass.TRANSIENT
        assert isinstance(count, float)
    else:
        assert answer.text == "We are open."
        check_usage(provider.name, answer.usage)


def test_a_far_end_that_breaks_http_does_not_bring_our_key_into_the_failure() -> None:
    """h11 quotes the bytes it cannot read."""

    async def failure() -> str:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"incorrect key {KEY}\r\n\r\n".encode())
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        provider = UniAPI(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", SecretStr(KEY))
        with pytest.raises(ProviderFailure) as caught:
            await provider.complete(ChatRequest("m", ASK), timeout=5)
        await provider.aclose()
        server.close()
        return caught.value.message

    told = asyncio.run(failure())
    assert "the connection broke" in told
    assert KEY not in told
