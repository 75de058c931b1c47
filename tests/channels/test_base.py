"""What every channel shares: what a network failure means, cutting texts, authenticating webhooks."""

from __future__ import annotations

import asyncio
import json
import math
import socket
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from engine.channels import wire
from engine.channels.base import Capabilities, Outgoing, SendError, SendFailure, Sent, WebhookRefused
from engine.channels.parts import send_in_parts, split_text
from engine.channels.registry import ChannelRegistry, ChannelUnknown, build_channels
from engine.channels.simulator import SimulatorChannel
from engine.channels.webhook import (
    Collector,
    check_secret,
    check_signature,
    header,
    identifier,
    moment,
    read_json,
    signature,
)
from engine.channels.wire import ANSWER_BYTES, exchange, http_client, retry_after_seconds, send_error
from engine.demo.loopback import Fault, LoopbackServer, Reply, Request, reply
from engine.model import SwitchboardError
from engine.settings import Settings

# -- one exchange ----------------------------------------------------------------------------------


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with http_client(use_proxy=False) as opened:
        yield opened


class Scripted:
    """Answers as it is told, counting requests."""

    def __init__(self) -> None:
        self.answer = Reply()
        self.seen: list[Request] = []

    def __call__(self, request: Request) -> Reply:
        self.seen.append(request)
        return self.answer


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
def server(scripted: Scripted) -> Iterator[LoopbackServer]:
    with LoopbackServer(scripted) as running:
        yield running


async def failure(client: httpx.AsyncClient, url: str, timeout: float = 5.0) -> SendError:
    with pytest.raises(SendError) as caught:
        await exchange(client, "POST", url, timeout=timeout, json_body={"a": 1})
    return caught.value


async def test_an_answer_is_read_whole(
    client: httpx.AsyncClient, server: LoopbackServer, scripted: Scripted
) -> None:
    scripted.answer = reply({"a": [{"b": 7}]}, 201, retry_after="1.5")
    answer = await exchange(client, "POST", server.base_url, timeout=5, json_body={"x": "ü"})
    assert (answer.status, answer.get("a", 0, "b"), answer.retry_after) == (201, 7, 1.5)
    assert answer.get("a", 5) is None
    assert answer.get("a", "b") is None
    assert scripted.seen[0].json() == {"x": "ü"}


@pytest.mark.parametrize(
    ("misbehaviour", "kind"),
    [
        (Reply(fault=Fault.RESET), SendFailure.UNKNOWN),
        (Reply(fault=Fault.HANG), SendFailure.UNKNOWN),
        (Reply(fault=Fault.TRUNCATE), SendFailure.UNKNOWN),
        (Reply(body=b"x" * (ANSWER_BYTES + 1)), SendFailure.UNKNOWN),
    ],
    ids=["reset", "hang", "truncated", "huge"],
)
async def test_without_a_whole_answer_the_outcome_is_unknown(
    client: httpx.AsyncClient,
    server: LoopbackServer,
    scripted: Scripted,
    misbehaviour: Reply,
    kind: SendFailure,
) -> None:
    scripted.answer = misbehaviour
    assert (await failure(client, server.base_url, timeout=0.5)).kind is kind
    assert len(scripted.seen) == 1


async def test_a_request_that_is_frozen_after_its_head_does_not_leave(
    client: httpx.AsyncClient,
    server: LoopbackServer,
    scripted: Scripted,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Frozen(wire._Phase):
        async def __call__(self, event: str, info: Any) -> None:
            await super().__call__(event, info)
            if event.endswith("send_request_headers.complete"):
                time.sleep(0.3)  # noqa: ASYNC251 - as SIGSTOP does

    with monkeypatch.context() as patched:
        patched.setattr(wire, "_Phase", Frozen)
        wire.leave_by.set(asyncio.get_running_loop().time() + 0.2)
        assert (await failure(client, server.base_url)).kind is SendFailure.NOT_SENT
    wire.leave_by.set(math.inf)
    await exchange(client, "POST", server.base_url, timeout=5, json_body={"the": "next"})
    assert [request.json() for request in scripted.seen] == [{"the": "next"}]


async def test_an_answer_dripping_in_does_not_outlast_the_deadline(client: httpx.AsyncClient) -> None:
    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 -\r\ncontent-length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.05)

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as dripping:
        port = dripping.sockets[0].getsockname()[1]
        started = asyncio.get_running_loop().time()
        error = await failure(client, f"http://127.0.0.1:{port}/", timeout=0.4)
        assert error.kind is SendFailure.UNKNOWN
        assert asyncio.get_running_loop().time() - started < 3


async def test_a_refused_connection_and_an_unknown_host_sent_nothing(
    client: httpx.AsyncClient, server: LoopbackServer, scripted: Scripted
) -> None:
    server.refuse_connections()
    assert (await failure(client, server.base_url)).kind is SendFailure.NOT_SENT
    assert (await failure(client, "http://no-such-host.invalid/")).kind is SendFailure.NOT_SENT
    server.accept_connections()
    assert (await exchange(client, "GET", server.base_url, timeout=5)).status == 200
    assert len(scripted.seen) == 1


async def test_a_connection_nobody_accepts_sent_nothing(client: httpx.AsyncClient) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]  # fill the backlog, so that connecting hangs
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        error = await failure(client, f"http://127.0.0.1:{port}/", timeout=0.3)
        for filler in fillers:
            filler.close()
    assert error.kind is SendFailure.NOT_SENT


async def test_a_closed_client_sent_nothing() -> None:
    closed = http_client()
    await closed.aclose()
    assert (await failure(closed, "http://127.0.0.1:9/")).kind is SendFailure.NOT_SENT


async def test_text_that_cannot_be_written_is_refused_for_good(client: httpx.AsyncClient) -> None:
    with pytest.raises(SendError) as caught:
        await exchange(client, "POST", "http://127.0.0.1:9/", timeout=1, json_body="\ud83d")
    assert caught.value.kind is SendFailure.PERMANENT


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectError("x"), SendFailure.NOT_SENT),
        (httpx.ConnectTimeout("x"), SendFailure.NOT_SENT),
        (httpx.PoolTimeout("x"), SendFailure.NOT_SENT),
        (httpx.ProxyError("x"), SendFailure.NOT_SENT),
        (httpx.UnsupportedProtocol("x"), SendFailure.NOT_SENT),
        (httpx.ReadTimeout("x"), SendFailure.UNKNOWN),
        (httpx.ReadError("x"), SendFailure.UNKNOWN),
        (httpx.WriteError("x"), SendFailure.UNKNOWN),
        (httpx.WriteTimeout("x"), SendFailure.UNKNOWN),
        (httpx.RemoteProtocolError("x"), SendFailure.UNKNOWN),
        (TimeoutError(), SendFailure.UNKNOWN),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
)
def test_the_kind_of_exception_decides_when_nothing_else_is_known(
    error: Exception, kind: SendFailure
) -> None:
    assert send_error(error).kind is kind


def test_what_never_started_was_not_sent() -> None:
    assert send_error(httpx.ReadTimeout("x"), request_started=False).kind is SendFailure.NOT_SENT
    assert send_error(TimeoutError(), request_started=False).kind is SendFailure.NOT_SENT


def test_retry_after_in_all_its_spellings() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after_seconds("7") == 7
    assert retry_after_seconds(2.5) == 2.5
    assert retry_after_seconds("Thu, 01 Jan 2026 00:01:00 GMT", now) == 60
    assert retry_after_seconds("Wed, 31 Dec 2025 00:00:00 GMT", now) == 0
    nonsense: list[object] = [None, "soon", "nan", True, {}, ""]
    assert [retry_after_seconds(value) for value in nonsense] == [None] * 6


# -- parts -----------------------------------------------------------------------------------------


def limits(max_text: int, *, utf16: bool = False) -> Capabilities:
    return Capabilities(
        receipts=False,
        webhook=False,
        polling=False,
        max_text=max_text,
        text_unit="utf16" if utf16 else "characters",
    )


def test_a_text_is_cut_where_it_hurts_least() -> None:
    assert split_text("One two.\n\nThree four five.", limits(20)) == ["One two.", "Three four five."]
    assert split_text("One two three. Four five six.", limits(20)) == ["One two three.", "Four five six."]
    assert split_text("One two three four five", limits(14)) == ["One two three", "four five"]
    assert split_text("x" * 25, limits(10)) == ["x" * 10, "x" * 10, "x" * 5]
    assert split_text("short", limits(10)) == ["short"]
    assert split_text(" \n ", limits(10)) == []


def test_utf16_units_are_counted_and_no_emoji_is_torn() -> None:
    assert split_text("😀" * 10, limits(8, utf16=True)) == ["😀" * 4, "😀" * 4, "😀" * 2]
    family = "👩\u200d👩\u200d👧"
    parts = split_text("ab" + family * 3, limits(14, utf16=True))
    assert all(not part.startswith("\u200d") and not part.endswith("\u200d") for part in parts)
    assert "".join(parts) == "ab" + family * 3


@given(st.text(st.sampled_from("ab. \n😀é,\u200d"), max_size=200), st.integers(2, 40), st.booleans())
@settings(max_examples=300, deadline=None)
def test_parts_fit_and_nothing_but_white_space_is_lost(text: str, limit: int, utf16: bool) -> None:
    parts = split_text(text, limits(limit, utf16=utf16))
    for part in parts:
        assert part
        assert (len(part.encode("utf-16-le")) // 2 if utf16 else len(part)) <= limit
    assert "".join("".join(parts).split()) == "".join(text.split())


MESSAGE = Outgoing(1, 1, 1, "default", "49151", "aaaa bbbb cccc", reply_to="q")


class Sender:
    """Answers each part with the next of `script`: an id or an error."""

    def __init__(self, *script: str | SendError) -> None:
        self.script = list(script)
        self.sent: list[tuple[int, str, str | None]] = []

    async def __call__(self, outgoing: Outgoing, part: int, timeout: float) -> Sent:
        self.sent.append((part, outgoing.text, outgoing.reply_to))
        step = self.script.pop(0)
        if isinstance(step, SendError):
            raise step
        return Sent(step)


async def test_all_parts_are_sent_in_order_and_only_the_first_quotes() -> None:
    sender = Sender("1", "2", "3")
    sent = await send_in_parts(MESSAGE, limits(5), sender, timeout=5)
    assert sent == Sent("3", other_ids=("1", "2"))
    assert sender.sent == [(0, "aaaa", "q"), (1, "bbbb", None), (2, "cccc", None)]


@pytest.mark.parametrize("kind", list(SendFailure))
async def test_the_first_parts_failure_is_the_messages(kind: SendFailure) -> None:
    sender = Sender(SendError(kind, "no"))
    with pytest.raises(SendError) as caught:
        await send_in_parts(MESSAGE, limits(5), sender, timeout=5)
    assert caught.value.kind is kind
    assert len(sender.sent) == 1


@pytest.mark.parametrize("kind", [SendFailure.PERMANENT, SendFailure.CHANNEL_DOWN, SendFailure.UNKNOWN])
async def test_a_later_parts_failure_leaves_the_message_unknown(kind: SendFailure) -> None:
    sender = Sender("1", SendError(kind, "no"))
    with pytest.raises(SendError, match="Part 2 of 3") as caught:
        await send_in_parts(MESSAGE, limits(5), sender, timeout=5)
    assert caught.value.kind is SendFailure.UNKNOWN
    assert len(sender.sent) == 2


async def test_a_later_part_is_tried_again_while_there_is_time() -> None:
    rate = SendError(SendFailure.RATE, "slower", retry_after=0.01)
    sender = Sender("1", rate, "2", "3")
    assert (await send_in_parts(MESSAGE, limits(5), sender, timeout=5)).provider_message_id == "3"
    late = Sender("1", SendError(SendFailure.RATE, "slower", retry_after=60))
    with pytest.raises(SendError) as caught:
        await send_in_parts(MESSAGE, limits(5), late, timeout=5)
    assert caught.value.kind is SendFailure.UNKNOWN


async def test_an_empty_text_is_never_sent() -> None:
    sender = Sender()
    empty = Outgoing(1, 1, 1, "default", "49151", " \n")
    with pytest.raises(SendError) as caught:
        await send_in_parts(empty, limits(5), sender, timeout=5)
    assert caught.value.kind is SendFailure.PERMANENT


# -- webhooks --------------------------------------------------------------------------------------

OLD, NEW = SecretStr("old-secret"), SecretStr("new-secret")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_either_live_secret_signs_and_nothing_else_does(algorithm: str) -> None:
    raw = b'{"a": 1}'
    for secret in (OLD, NEW):
        check_signature(raw, signature(raw, secret, algorithm), (OLD, NEW), algorithm)  # type: ignore[arg-type]
    good = signature(raw, NEW, algorithm)  # type: ignore[arg-type]
    flipped = ("0" if good[0] != "0" else "1") + good[1:]
    for body, told in ((raw + b" ", good), (raw, flipped), (raw, ""), (raw, "é\ud800"), (raw, good[:-1])):
        with pytest.raises(WebhookRefused) as caught:
            check_signature(body, told, (OLD, NEW), algorithm)  # type: ignore[arg-type]
        assert caught.value.status == 401


def test_without_a_configured_secret_everything_is_refused() -> None:
    with pytest.raises(WebhookRefused) as caught:
        check_signature(b"", "", ())
    assert caught.value.status == 403
    with pytest.raises(WebhookRefused):
        check_secret("", ())
    with pytest.raises(WebhookRefused):
        check_secret(None, (OLD,))
    check_secret("old-secret", (OLD, NEW))
    empty = SecretStr("")
    with pytest.raises(WebhookRefused):
        check_secret("", (empty, OLD))
    with pytest.raises(WebhookRefused):
        check_signature(b"{}", signature(b"{}", empty, "sha256"), (empty,))


def test_odd_values_are_read_or_left_out() -> None:
    assert header({"x-thing": "1"}, "X-Thing") == header({"X-THING": "1"}, "X-Thing") == "1"
    assert header({}, "X-Thing") == ""
    odd: list[object] = [None, True, 1.5, [], {}, "x" * 1000, 2**70]
    assert [identifier(value) for value in odd] == [""] * 7
    assert (identifier(42), identifier(" a\x00b "), identifier(-100123)) == ("42", "ab", "-100123")
    at = datetime(2026, 2, 19, 14, 0, tzinfo=UTC)
    assert moment(at.timestamp()) == moment(str(int(at.timestamp()))) == moment(at.timestamp() * 1000) == at
    no_times: list[object] = [None, True, "x", "nan", 1e300, -5, [], "9" * 5000]
    assert [moment(value) for value in no_times] == [None] * 8


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[" * 200_000, b"1" * 5000])
def test_what_is_no_json_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the text is json's own
        read_json(raw)


def test_one_odd_item_does_not_cost_its_neighbours() -> None:
    found = Collector(redact=lambda text: text.replace("KEY", "***"))
    taken: list[int] = []
    found.each([{"n": 1}, {"x": "KEY\x00"}, None, {"n": 2}], lambda item: taken.append(item["n"]))
    assert taken == [1, 2]
    assert [json.loads(one.body) for one in found.parsed().quarantined] == [{"x": "***"}, None]


# -- registry --------------------------------------------------------------------------------------


async def test_the_registry_finds_accounts_and_says_which_there_are() -> None:
    registry = ChannelRegistry([SimulatorChannel(account="shop"), SimulatorChannel(account="bar")])
    assert registry.get("simulator", "bar").account == "bar"
    with pytest.raises(ChannelUnknown, match="simulator/shop"):
        registry.get("simulator")
    with pytest.raises(ChannelUnknown):
        registry.get("pigeon")
    with pytest.raises(SwitchboardError, match="twice"):
        ChannelRegistry([SimulatorChannel(), SimulatorChannel()])
    assert ChannelRegistry([SimulatorChannel(account="only")]).get("simulator").account == "only"
    await registry.aclose()


async def test_a_plain_install_has_the_simulator() -> None:
    registry = build_channels(Settings(_env_file=None))
    assert registry.get("simulator").capabilities.receipts is False
    await registry.aclose()
