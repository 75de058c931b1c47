"""A far end that sends more than it was asked for: what is left over is nobody's answer."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from engine.channels.base import Outgoing, SendError
from engine.llm.failures import ProviderFailure
from engine.llm.providers import base
from engine.llm.providers.base import ChatRequest
from engine.llm.providers.uniapi import UniAPI
from engine.model import LLMMessage
from tests.channels.cases import BY_NAME


def answer(body: Any, status: int = 200) -> bytes:
    written = json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\nContent-Length: {len(written)}\r\n\r\n"
    )
    return head.encode() + written


class Generous:
    """Answers each request on a connection with the next of `answers`, as it stands; keeps what was asked."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.connections = 0
        self.url = ""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = re.search(rb"content-length: (\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                writer.write(self.answers.pop(0))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Generous]:
        server = await asyncio.start_server(self.talk, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()


def reply(text: str) -> bytes:
    return answer({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})


@pytest.mark.parametrize("own_pool", [True, False])
async def test_nobody_gets_the_reply_to_somebody_else(
    monkeypatch: pytest.MonkeyPatch, own_pool: bool
) -> None:
    if not own_pool:  # as behind a proxy
        monkeypatch.setattr(base, "client_transport", lambda *_, **__: None)
    async with Generous(
        reply("to Ada") + reply("to Ada again"), reply("to Ben"), reply("to Eve")
    ).serving() as far:
        provider = UniAPI(far.url, SecretStr("key-of-the-provider"))
        said = []
        for name in ("Ada", "Ben", "Eve"):
            question = ChatRequest("gpt-5-mini", [LLMMessage(role="user", content=f"I am {name}")])
            said.append((await provider.complete(question, timeout=5)).text)
        await provider.aclose()
    assert said == ["to Ada", "to Ben", "to Eve"]
    assert far.connections == 2, "a connection with nothing left on it is used again"


async def test_a_body_where_there_is_none_costs_only_its_own_call() -> None:
    async with Generous(answer({"a": 1}, status=204), reply("to Ben")).serving() as far:
        provider = UniAPI(far.url, SecretStr("key-of-the-provider"))
        question = ChatRequest("gpt-5-mini", [LLMMessage(role="user", content="Hello")])
        with pytest.raises(ProviderFailure):
            await provider.complete(question, timeout=5)
        assert (await provider.complete(question, timeout=5)).text == "to Ben"
        await provider.aclose()


@pytest.mark.parametrize("first", [answer({"id": "A"}) + answer({"id": "A again"}), answer({"id": "A"}, 204)])
async def test_a_send_is_not_judged_by_the_answer_to_another(first: bytes) -> None:
    case = BY_NAME["simulator"]
    async with Generous(first, answer({"id": "B"}), answer({"id": "C"})).serving() as far:
        channel = case.build(far.url)
        ids = []
        for number in (1, 2, 3):
            try:
                sent = await channel.send(Outgoing(number, number, 1, "default", case.to, "Hi"), timeout=5)
                ids.append(sent.provider_message_id)
            except SendError:
                ids.append(None)
        await channel.aclose()
    assert ids[1:] == ["B", "C"]
    assert far.connections == 2
