"""What each provider is really sent, and what is made of what really comes back, over HTTP on loopback."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from engine.demo.far_end import FarEnd
from engine.llm.failures import ProviderFailure
from engine.llm.providers.answer import read_completion, read_json, read_usage
from engine.llm.providers.base import MAX_ANSWER, Balance, ChatRequest
from engine.llm.providers.http1 import ConnectionStack
from engine.llm.providers.transport import client_transport
from engine.llm.providers.uniapi import UniAPI
from engine.llm.providers.zai import ZAI
from engine.model import FailureClass, LLMMessage, Usage
from tests.llm.conftest import ASK, UNIAPI_KEY, ZAI_KEY, until

GEMINI = ChatRequest("gemini-3-flash-preview", ASK, max_tokens=300, temperature=0.3)
GLM = ChatRequest("glm-4.7-flash", ASK, max_tokens=300, temperature=0.3)
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


@pytest.fixture
async def uniapi(far: FarEnd) -> AsyncIterator[UniAPI]:
    provider = UniAPI(far.uniapi_url, SecretStr(UNIAPI_KEY))
    yield provider
    await provider.aclose()


@pytest.fixture
async def zai(far: FarEnd) -> AsyncIterator[ZAI]:
    provider = ZAI(far.zai_url, SecretStr(ZAI_KEY))
    yield provider
    await provider.aclose()


@asynccontextmanager
async def raw_server(answer: Answer) -> AsyncIterator[UniAPI]:
    """A provider whose far end is whatever `answer` writes after the request's head."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    provider = UniAPI(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", SecretStr(UNIAPI_KEY))
    try:
        yield provider
    finally:
        await provider.aclose()
        server.close()


def http(body: bytes, status: int = 200, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} -", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def answering(data: bytes) -> Answer:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return answer


def chat(content: object = "Hello", **more: object) -> bytes:
    choice = {"message": {"content": content}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice], "usage": {}, **more}).encode()


async def failure_of(
    provider: UniAPI | ZAI, request: ChatRequest = GEMINI, timeout: float = 5.0
) -> ProviderFailure:
    with pytest.raises(ProviderFailure) as caught:
        await provider.complete(request, timeout=timeout)
    return caught.value


# What is sent


async def test_uniapi_is_sent_a_plain_chat_with_thinking_off(far: FarEnd, uniapi: UniAPI) -> None:
    await uniapi.complete(GEMINI, timeout=5)
    call = far.uniapi.calls[0]
    assert call.path == "/v1/chat/completions"
    assert call.headers["authorization"] == f"Bearer {UNIAPI_KEY}"
    assert call.body == {
        "model": "gemini-3-flash-preview",
        "messages": [{"role": m.role, "content": m.content} for m in ASK],
        "max_tokens": 300,
        "temperature": 0.3,
        "reasoning": {"max_tokens": 0},
    }


@pytest.mark.parametrize("model", ["gpt-4o", "claude-haiku-4-5", "glm-4.7"])
async def test_uniapi_is_sent_the_reasoning_switch_for_gemini_only(
    far: FarEnd, uniapi: UniAPI, model: str
) -> None:
    await uniapi.complete(ChatRequest(model, ASK), timeout=5)
    assert far.uniapi.calls[0].body.keys() == {"model", "messages"}


async def test_zai_is_sent_a_plain_chat_with_thinking_off(far: FarEnd, zai: ZAI) -> None:
    await zai.complete(GLM, timeout=5)
    call = far.zai.calls[0]
    assert call.path == "/api/paas/v4/chat/completions"
    assert call.headers["authorization"] == f"Bearer {ZAI_KEY}"
    assert call.body == {
        "model": "glm-4.7-flash",
        "messages": [{"role": m.role, "content": m.content} for m in ASK],
        "max_tokens": 300,
        "temperature": 0.3,
        "thinking": {"type": "disabled"},
    }


async def test_params_of_a_route_replace_defaults_and_null_takes_them_out(
    far: FarEnd, uniapi: UniAPI, zai: ZAI
) -> None:
    await zai.complete(
        ChatRequest("glm-5", ASK, params={"thinking": {"type": "enabled"}, "top_p": 0.5}), timeout=5
    )
    await uniapi.complete(ChatRequest("gemini-2.5-flash", ASK, params={"reasoning": None}), timeout=5)
    assert far.zai.calls[0].body["thinking"] == {"type": "enabled"}
    assert far.zai.calls[0].body["top_p"] == 0.5
    assert "reasoning" not in far.uniapi.calls[0].body


async def test_any_text_reaches_the_model_unharmed(far: FarEnd, zai: ZAI) -> None:
    text = 'Ünï \U0001f468‍\U0001f469‍\U0001f467 "quoted" \\ \x01 你好'
    await zai.complete(ChatRequest("glm-5", [LLMMessage(role="user", content=text + "\ud800")]), timeout=5)
    assert far.zai.calls[0].body["messages"][0]["content"] == text + "?"


async def test_a_model_that_must_think_is_asked_without_the_switch_from_then_on(
    far: FarEnd, uniapi: UniAPI
) -> None:
    far.uniapi.once("no-reasoning")
    assert (await failure_of(uniapi)).adapted
    await uniapi.complete(GEMINI, timeout=5)
    assert [("reasoning" in call.body) for call in far.uniapi.calls] == [True, False]


async def test_another_bad_request_is_not_worth_a_second_call(far: FarEnd, uniapi: UniAPI) -> None:
    far.uniapi.once("400")
    assert not (await failure_of(uniapi)).adapted


# What comes back


async def test_a_reply_carries_its_text_usage_and_request_id(far: FarEnd, zai: ZAI) -> None:
    far.zai.reply = lambda messages: f"echo: {messages[-1]['content']}"
    reply = await zai.complete(GLM, timeout=5)
    assert reply.text == "echo: When do you open?"
    assert reply.finish_reason == "stop"
    assert reply.request_id and reply.request_id.isdigit()  # Z.ai's own, not the OpenAI-style id
    assert reply.usage.prompt_tokens and reply.usage.completion_tokens
    assert reply.usage.total_tokens == reply.usage.raw_usage["total_tokens"]


async def test_reasoning_that_only_the_total_shows_is_kept(uniapi: UniAPI) -> None:
    reply = await uniapi.complete(ChatRequest("gemini-2.5-flash", ASK, params={"reasoning": None}), timeout=5)
    usage = reply.usage
    assert usage.prompt_tokens is not None and usage.completion_tokens is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens + 120


async def test_heartbeats_before_the_answer_do_no_harm(far: FarEnd, uniapi: UniAPI) -> None:
    far.uniapi.mode = "heartbeat"
    assert (await uniapi.complete(GEMINI, timeout=5)).text


@pytest.mark.parametrize(
    ("mode", "expected", "status"),
    [
        ("401", FailureClass.AUTH, 401),
        ("403", FailureClass.MONEY, 403),
        ("404", FailureClass.REQUEST, 404),
        ("429", FailureClass.RATE, 429),
        ("429-money", FailureClass.MONEY, 429),
        ("500", FailureClass.TRANSIENT, 500),
        ("503", FailureClass.TRANSIENT, 503),
        ("empty", FailureClass.EMPTY, 200),
        ("starved", FailureClass.STARVED, 200),
        ("truncated", FailureClass.TRANSIENT, 200),
        ("html", FailureClass.TRANSIENT, 200),
        ("huge", FailureClass.TRANSIENT, None),
        ("reset", FailureClass.TRANSIENT, None),
    ],
)
async def test_every_fault_of_uniapi_has_its_class(
    far: FarEnd, uniapi: UniAPI, mode: str, expected: FailureClass, status: int | None
) -> None:
    far.uniapi.mode = mode
    failure = await failure_of(uniapi)
    assert (failure.failure, failure.http_status) == (expected, status)


@pytest.mark.parametrize(
    ("mode", "expected", "code"),
    [
        ("401", FailureClass.AUTH, "1002"),
        ("429", FailureClass.RATE, "1303"),
        ("429-money", FailureClass.MONEY, "1113"),
        ("1261", FailureClass.REQUEST, "1261"),
        ("1301", FailureClass.CONTENT, "1301"),
        ("1302", FailureClass.RATE, "1302"),
        ("1308", FailureClass.QUOTA, "1308"),
        ("503", FailureClass.TRANSIENT, "1234"),
    ],
)
async def test_every_fault_of_zai_has_its_class(
    far: FarEnd, zai: ZAI, mode: str, expected: FailureClass, code: str
) -> None:
    far.zai.mode = mode
    failure = await failure_of(zai, GLM)
    assert (failure.failure, failure.code) == (expected, code)
    assert (failure.reset_at is not None) is (mode == "1308")


async def test_a_key_that_the_far_end_quotes_is_not_passed_on(far: FarEnd, uniapi: UniAPI, zai: ZAI) -> None:
    far.uniapi.mode = far.zai.mode = "401"
    for failure in (await failure_of(uniapi), await failure_of(zai, GLM)):
        assert "***" in failure.message
        assert UNIAPI_KEY not in failure.message
        assert ZAI_KEY not in failure.message


async def test_an_error_dressed_as_a_200_is_an_error() -> None:
    body = b'{"error": {"code": "insufficient_quota", "message": "no money"}}'
    async with raw_server(answering(http(body))) as provider:
        assert (await failure_of(provider)).failure is FailureClass.MONEY


async def test_a_silent_far_end_is_left_in_time(far: FarEnd, uniapi: UniAPI) -> None:
    far.uniapi.mode = "hang"
    failure = await failure_of(uniapi, timeout=0.2)
    assert failure.failure is FailureClass.TRANSIENT
    assert failure.timed_out


async def test_a_slow_drip_does_not_outlast_the_timeout() -> None:
    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 -\r\ncontent-length: 100000\r\n\r\n")
        for _ in range(1000):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with raw_server(drip) as provider:
        began = asyncio.get_running_loop().time()
        assert (await failure_of(provider, timeout=0.4)).timed_out
        assert asyncio.get_running_loop().time() - began < 5


async def test_an_endless_answer_is_cut_off_at_the_limit() -> None:
    written = 0

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 -\r\ncontent-type: application/json\r\n\r\n")
        while written < 100 * MAX_ANSWER:
            writer.write(b" " * 65536)
            written += 65536
            await writer.drain()

    async with raw_server(flood) as provider:
        failure = await failure_of(provider, timeout=20)
    assert "larger than 2 MB" in failure.message
    assert written < 20 * MAX_ANSWER


async def test_a_small_packed_answer_that_grows_is_cut_off_too() -> None:
    bomb = gzip.compress(b" " * (20 * MAX_ANSWER))
    async with raw_server(answering(http(bomb, 200, "content-encoding: gzip"))) as provider:
        tracemalloc.start()
        failure = await failure_of(provider)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert "larger than 2 MB" in failure.message
    assert peak < 5 * MAX_ANSWER


async def test_an_answer_packed_unasked_is_unpacked() -> None:
    packed = gzip.compress(chat("Hello"))
    async with raw_server(answering(http(packed, 200, "content-encoding: gzip"))) as provider:
        assert (await provider.complete(GEMINI, timeout=5)).text == "Hello"
    async with raw_server(answering(http(chat(), 200, "content-encoding: gzip"))) as provider:
        assert "does not unpack" in (await failure_of(provider)).message


async def test_a_redirect_is_not_followed() -> None:
    async with raw_server(answering(http(b"", 302, "location: http://127.0.0.1:1/"))) as provider:
        assert (await failure_of(provider)).failure is FailureClass.REQUEST


@pytest.mark.parametrize(
    "noise", [b"", b"\x00\x01\x02\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 -\r\nbad\r\n\r\n"]
)
async def test_what_is_not_http_is_transient(noise: bytes) -> None:
    async with raw_server(answering(noise)) as provider:
        assert (await failure_of(provider)).failure is FailureClass.TRANSIENT


async def test_a_closed_port_is_transient() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    provider = UniAPI(f"http://127.0.0.1:{port}/v1", SecretStr(UNIAPI_KEY))
    failure = await failure_of(provider)
    await provider.aclose()
    assert failure.failure is FailureClass.TRANSIENT
    assert failure.message.startswith("cannot connect")


# Connections


async def test_calls_one_after_another_share_a_connection(far: FarEnd, uniapi: UniAPI) -> None:
    for mode in ("ok", "401", "empty", "ok"):
        far.uniapi.once(mode)
        try:
            await uniapi.complete(GEMINI, timeout=5)
        except ProviderFailure:
            assert mode != "ok"
    assert far.connections == 1


async def test_calls_at_the_same_time_have_a_connection_each_and_keep_them(
    far: FarEnd, uniapi: UniAPI
) -> None:
    far.uniapi.latency_seconds = 0.3
    for _ in range(2):
        await asyncio.gather(*(uniapi.complete(GEMINI, timeout=20) for _ in range(50)))
    assert far.uniapi.total == 100
    assert far.connections <= 60  # 50, and a few more where one was not yet free


async def test_a_connection_that_broke_is_not_used_again(far: FarEnd, uniapi: UniAPI) -> None:
    for mode in ("reset", "huge", "hang"):
        far.uniapi.once(mode)
        await failure_of(uniapi, timeout=0.5)
        await uniapi.complete(GEMINI, timeout=5)
    assert far.connections == 4


async def test_a_connection_the_far_end_closed_meanwhile_is_not_used_again(
    far: FarEnd, uniapi: UniAPI
) -> None:
    await uniapi.complete(GEMINI, timeout=5)
    far.stop()
    far.start()
    assert (await uniapi.complete(GEMINI, timeout=5)).text


async def test_a_cancelled_call_frees_its_slot(far: FarEnd) -> None:
    provider = UniAPI(far.uniapi_url, SecretStr(UNIAPI_KEY))
    provider._client._http._transport = ConnectionStack(1, None)
    far.uniapi.once("hang")
    call = asyncio.create_task(provider.complete(GEMINI, timeout=20))
    await until(lambda: far.uniapi.total == 1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert (await provider.complete(GEMINI, timeout=5)).text
    await provider.aclose()


def test_a_proxy_of_the_environment_is_honoured_but_not_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert client_transport("https://api.uniapi.io/v1", 10) is None
    assert client_transport("https://inside.example/v1", 10) is not None
    assert client_transport("http://127.0.0.1:1234/v1", 10) is not None


# Keys and probes


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (None, "UNIAPI_API_KEY is not set"),
        ("  ", "UNIAPI_API_KEY is not set"),
        ("sk-\x00abc", "UNIAPI_API_KEY holds characters that no API key has"),
        ("sk-ключ", "UNIAPI_API_KEY holds characters that no API key has"),
        ("two words", "UNIAPI_API_KEY holds characters that no API key has"),
        ("sk-abc\n", None),
    ],
)
def test_a_key_that_cannot_work_is_told_without_a_call(key: str | None, problem: str | None) -> None:
    assert UniAPI("http://127.0.0.1:1", SecretStr(key) if key else None).problem == problem


async def test_uniapi_is_probed_by_its_models_and_while_down_by_a_token(far: FarEnd, uniapi: UniAPI) -> None:
    assert await uniapi.probe("gemini-3-flash-preview", timeout=5, down=False)
    assert far.uniapi.total == 0
    far.uniapi.once("starved")  # what one token of a thinking model gives: it worked nevertheless
    assert await uniapi.probe("gemini-3-flash-preview", timeout=5, down=True)
    assert far.uniapi.calls[0].body["max_tokens"] == 1


async def test_an_empty_account_lists_models_but_fails_the_probe_while_down(
    far: FarEnd, uniapi: UniAPI
) -> None:
    far.uniapi.mode = "403"
    assert await uniapi.probe("gemini-3-flash-preview", timeout=5, down=False)
    with pytest.raises(ProviderFailure):
        await uniapi.probe("gemini-3-flash-preview", timeout=5, down=True)


async def test_zai_is_probed_only_while_down(far: FarEnd, zai: ZAI) -> None:
    assert not await zai.probe("glm-4.7-flash", timeout=5, down=False)
    assert far.zai.total == 0
    assert await zai.probe("glm-4.7-flash", timeout=5, down=True)
    assert far.zai.calls[0].body["max_tokens"] == 1


async def test_the_balance_of_uniapi_can_be_asked(uniapi: UniAPI) -> None:
    assert await uniapi.balance(timeout=5) == Balance(12.34)


async def test_zai_does_not_tell_its_balance_and_is_not_asked(far: FarEnd, zai: ZAI) -> None:
    before = far.connections
    assert await zai.balance(timeout=5) is None
    assert far.connections == before


async def test_a_balance_of_minus_one_has_no_limit() -> None:
    async with raw_server(answering(http(b'{"data": {"balance": -1}}'))) as provider:
        assert await provider.balance(timeout=5) == Balance(None)


@pytest.mark.parametrize(
    "data",
    [{"balance": "12"}, {"balance": None}, {"balance": True}, {"balance": 1e300},
     {}, None, [1]],
)  # fmt: skip
async def test_a_balance_that_cannot_be_read_is_not_told(data: object) -> None:
    async with raw_server(answering(http(json.dumps({"data": data}).encode()))) as provider:
        assert await provider.balance(timeout=5) is None


# Reading answers


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b'{"choices": ',
        b"[" * 200_000,
        b'{"usage": NaN}',
        b'{"n": ' + b"9" * 5000 + b"}",
        b"\xff\xfe",
    ],
)
def test_what_is_not_a_json_object_is_transient(body: bytes) -> None:
    with pytest.raises(ProviderFailure) as caught:
        read_json(body)
    assert caught.value.failure is FailureClass.TRANSIENT


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (" Hello\n", "Hello"),
        ([{"type": "text", "text": "Hel"}, {"type": "image"}, {"type": "text", "text": "lo"}], "Hello"),
        ("Hel\x00lo\ud800", "Hello"),
    ],
)
def test_content_becomes_text_that_the_database_can_hold(content: object, text: str) -> None:
    assert read_completion(json.loads(chat(content))).text == text


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"choices": []}, FailureClass.EMPTY),
        ({"choices": [None]}, FailureClass.EMPTY),
        ({"choices": [{"message": None}]}, FailureClass.EMPTY),
        ({"choices": [{"message": {"content": 5}, "finish_reason": 7}]}, FailureClass.EMPTY),
        ({"choices": [{"message": {"content": None}, "finish_reason": "length"}]}, FailureClass.STARVED),
        ({"choices": "none"}, FailureClass.TRANSIENT),
        ({}, FailureClass.TRANSIENT),
    ],
)
def test_an_odd_completion_is_a_failure_not_a_crash(data: dict[str, Any], expected: FailureClass) -> None:
    with pytest.raises(ProviderFailure) as caught:
        read_completion(data)
    assert caught.value.failure is expected


@pytest.mark.parametrize("value", [-1, 2**31, 1.5, "12", True, None, [3]])
def test_counts_that_are_no_counts_are_unknown(value: object) -> None:
    usage = read_usage({"prompt_tokens": value, "completion_tokens": 2})
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (None, 2, None)


def test_the_record_of_the_provider_is_kept_whole_but_storable() -> None:
    raw = {"prompt_tokens": 3, "total_tokens": 9, "cost": float("inf"), "note": "a\x00b", "deep": {"x": [1]}}
    usage = read_usage(raw)
    assert usage.total_tokens == 9
    assert usage.raw_usage == {
        "prompt_tokens": 3,
        "total_tokens": 9,
        "cost": None,
        "note": "ab",
        "deep": {"x": [1]},
    }
    assert read_usage("nonsense") == Usage()


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["choices", "message", "content", "finish_reason", "usage", "prompt_tokens", "id"]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    ).filter(lambda data: isinstance(data, dict))
)
def test_no_json_whatever_breaks_the_reader(data: dict[str, Any]) -> None:
    try:
        reply = read_completion(data)
    except ProviderFailure:
        return
    assert reply.text.strip()
