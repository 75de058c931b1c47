"""HTTP/2 towards providers: shared connections, and what becomes of calls when one of them ends."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypercorn.asyncio import serve
from hypercorn.config import Config
from pydantic import SecretStr

from engine.llm.failures import ProviderFailure
from engine.llm.providers import http2
from engine.llm.providers.base import ChatRequest
from engine.llm.providers.uniapi import UniAPI
from engine.model import LLMMessage
from tests.bench.server import free_port

BOTH = ["h2", "http/1.1"]


@dataclass
class Https:
    """A far end over TLS that answers chat completions."""

    port: int
    folder: Path
    seconds: float = 0.0
    protocols: Counter[str] = field(default_factory=Counter)
    connections: set[Any] = field(default_factory=set)

    async def app(
        self, scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]
    ) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while (event := await receive())["type"] == "http.request":
            body += event["body"]
            if not event.get("more_body"):
                break
        self.protocols[scope["http_version"]] += 1
        self.connections.add(scope["client"])
        await asyncio.sleep(self.seconds)
        said = json.loads(body)["messages"][-1]["content"]
        answer = {"choices": [{"message": {"content": f"you said {said}"}, "finish_reason": "stop"}]}
        head = {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-type", b"application/json")],
        }
        await send(head)
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    @asynccontextmanager
    async def serving(self, protocols: list[str], **limits: float) -> AsyncIterator[None]:
        config = Config()
        config.bind = [f"127.0.0.1:{self.port}"]
        config.certfile = config.keyfile = str(self.folder / "far.pem")
        config.alpn_protocols = protocols
        config.graceful_timeout = 1
        config.errorlog = None
        for name, value in limits.items():
            setattr(config, name, value)
        over = asyncio.Event()
        server = asyncio.create_task(serve(self.app, config, shutdown_trigger=over.wait))  # type: ignore[arg-type]
        await _until_open(self.port)
        try:
            yield
        finally:
            over.set()
            await server


async def _until_open(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Https:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "far.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return Https(free_port(), tmp_path)


@asynccontextmanager
async def provider(far: Https, *, two: bool = True) -> AsyncIterator[UniAPI]:
    found = UniAPI(f"https://127.0.0.1:{far.port}/v1", SecretStr("a-key"), http2=two)
    try:
        yield found
    finally:
        await found.aclose()


async def say(uniapi: UniAPI, what: object, timeout: float = 10) -> str | None:
    said = [LLMMessage(role="user", content=str(what))]
    return (await uniapi.complete(ChatRequest("gemini-3-flash-preview", said), timeout=timeout)).text


async def test_calls_share_a_connection_and_each_gets_its_own_answer(far: Https) -> None:
    far.seconds = 0.2
    async with far.serving(BOTH), provider(far) as uniapi:
        for _ in range(2):
            answers = await asyncio.gather(*(say(uniapi, number) for number in range(60)))
            assert answers == [f"you said {number}" for number in range(60)]
    assert far.protocols == {"2": 120}
    assert len(far.connections) == 1


async def test_more_calls_than_a_connection_carries_open_another(far: Https) -> None:
    far.seconds = 0.5
    async with far.serving(BOTH, h2_max_concurrent_streams=128), provider(far) as uniapi:
        await asyncio.gather(*(say(uniapi, number, 30) for number in range(http2.STREAMS + 20)))
    assert len(far.connections) == 2


async def test_it_is_spoken_only_when_asked_for(far: Https) -> None:
    async with far.serving(BOTH), provider(far, two=False) as uniapi:
        assert await say(uniapi, "hello") == "you said hello"
    assert far.protocols == {"1.1": 1}


@pytest.mark.parametrize("at_once", [1, 20])
async def test_a_far_end_without_it_is_called_as_ever(far: Https, at_once: int) -> None:
    far.seconds = 0.1
    async with far.serving(["http/1.1"]), provider(far) as uniapi:
        for _ in range(3):
            answers = await asyncio.gather(*(say(uniapi, number) for number in range(at_once)))
            assert answers == [f"you said {number}" for number in range(at_once)]
    assert far.protocols == {"1.1": 3 * at_once}
    assert len(far.connections) <= at_once + 1, "connections are kept"


async def test_a_connection_is_let_go_before_the_far_end_closes_it(
    far: Https, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "CALLS", 40)
    far.seconds = 0.02
    async with far.serving(BOTH, keep_alive_max_requests=50), provider(far) as uniapi:
        for first in range(0, 200, 20):
            answers = await asyncio.gather(*(say(uniapi, first + number) for number in range(20)))
            assert answers == [f"you said {first + number}" for number in range(20)]
        pool = uniapi._client._http._transport
        assert isinstance(pool, http2.SharedConnections)
        assert len(pool._open) <= 1
    assert len(far.connections) == 5


async def test_after_a_goodbye_in_the_midst_the_next_calls_go_through(far: Https) -> None:
    async with far.serving(BOTH, keep_alive_max_requests=3), provider(far) as uniapi:
        for number in range(20):
            with suppress(ProviderFailure):
                assert await say(uniapi, number) == f"you said {number}"
                continue
            assert await say(uniapi, number) == f"you said {number}", "the next one has a new connection"


async def test_a_connection_the_far_end_closed_meanwhile_is_not_used_again(far: Https) -> None:
    async with far.serving(BOTH, keep_alive_timeout=0.1), provider(far) as uniapi:
        for number in range(3):
            assert await say(uniapi, number) == f"you said {number}"
            await asyncio.sleep(0.5)
    assert len(far.connections) == 3


async def test_calls_that_find_several_connections_closed_are_not_in_each_others_way(
    far: Https, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "STREAMS", 1)
    far.seconds = 0.1
    async with far.serving(BOTH, keep_alive_timeout=0.1), provider(far) as uniapi:
        for _ in range(3):
            answers = await asyncio.gather(*(say(uniapi, number) for number in range(5)))
            assert answers == [f"you said {number}" for number in range(5)]
            await asyncio.sleep(0.5)


async def test_a_connection_on_which_a_call_failed_gets_no_more(far: Https) -> None:
    far.seconds = 0.6
    async with far.serving(BOTH), provider(far) as uniapi:
        slow = asyncio.create_task(say(uniapi, "slow"))
        await asyncio.sleep(0.1)
        with pytest.raises(ProviderFailure, match="no answer within"):
            await say(uniapi, "impatient", 0.2)
        assert await say(uniapi, "next") == "you said next"
        assert await slow == "you said slow", "what is under way on the old one ends there"
        pool = uniapi._client._http._transport
        assert isinstance(pool, http2.SharedConnections)
        assert len(pool._open) == 1
    assert len(far.connections) == 2


async def test_a_certificate_nobody_vouches_for_is_refused(
    far: Https, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    async with far.serving(BOTH), provider(far) as uniapi:
        with pytest.raises(ProviderFailure, match="certificate"):
            await say(uniapi, "hello")
    assert far.protocols == {}
