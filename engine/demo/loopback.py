"""A small HTTP/1.1 server on 127.0.0.1, in a thread of its own, that can misbehave on request.

Simulated far ends are built on it: they say what to answer, and it also hangs, resets, cuts an answer
short or closes its listener, the way real networks do.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self, TypeVar, cast

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 16 * 2**20
START_SECONDS = 10.0
BEATS = 3
BEAT_SECONDS = 0.02

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read to its end."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        """The parsed body; None when it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Fault(StrEnum):
    """What to do instead of answering."""

    HANG = "hang"
    """Say nothing, ever."""
    RESET = "reset"
    """A TCP reset, after the request was read."""
    RESET_HALFWAY = "reset_halfway"
    """Half of the body, then a TCP reset."""
    TRUNCATE = "truncate"
    """Half of the body, then the end of the connection."""
    HEARTBEAT = "heartbeat"
    """Blank lines in a chunked body before the answer, as gateways send them while a model thinks."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)
    fault: Fault | None = None
    delay: float = 0.0
    """Seconds before it is given."""


def reply(data: Any, status: int = 200, **headers: str) -> Reply:
    """A JSON answer."""
    return Reply(
        status, json.dumps(data).encode(), {name.replace("_", "-"): v for name, v in headers.items()}
    )


Handler = Callable[[Request], Reply]
"""Called in the server's thread; it must not block."""


class LoopbackServer:
    """Serves `handler` between `start` and `stop`; every method may be called from any thread."""

    def __init__(self, handler: Handler, *, port: int = 0) -> None:
        self._handler = handler
        self._port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self.accepted = 0
        """Connections since start."""

    @property
    def port(self) -> int:
        """0 before the first start; the same from then on."""
        return self._port

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Listens. Raises OSError when the port is taken."""
        loop = _new_loop()
        thread = threading.Thread(target=loop.run_forever, name="loopback", daemon=True)
        thread.start()
        self._loop, self._thread = loop, thread
        try:
            self._run(self._listen())
        except OSError:
            self.stop()
            raise

    def stop(self) -> None:
        """Drops every connection and ends the thread."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._run(self._unlisten())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_SECONDS)
        loop.close()
        self._loop = self._thread = None

    def refuse_connections(self) -> None:
        """Closes the listener and every connection: whoever connects now is refused."""
        self._run(self._unlisten())

    def accept_connections(self) -> None:
        """Listens again, on the same port."""
        self._run(self._listen())

    def call_later(self, seconds: float, act: Callable[..., None], *args: Any) -> None:
        """Runs `act` in the server's thread after that time, unless it is stopped before."""
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(loop.call_later, seconds, act, *args)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise RuntimeError("the server is not started")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(START_SECONDS)

    async def _listen(self) -> None:
        if self._server is not None:
            return
        listener = socket.create_server(("127.0.0.1", self._port), backlog=1024)
        self._port = listener.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, sock=listener)

    def _accept(self) -> _Connection:
        self.accepted += 1
        return _Connection(self._handler, self._connections)

    async def _unlisten(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)


class _Connection(asyncio.Protocol):
    """One kept-alive connection; one request at a time, as clients of web services use it."""

    def __init__(self, handler: Handler, connections: set[_Connection]) -> None:
        self._handler = handler
        self._connections = connections
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > HEAD_LIMIT:
                self.abort()
            return
        method, target, headers = _read_head(self._buffer[:end])
        length = int(headers.get("content-length") or 0)
        if length > BODY_LIMIT:
            self.abort()
        elif len(self._buffer) >= end + 4 + length:
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            path, _, query = target.partition("?")
            answer = self._handler(Request(method, path, query, headers, body))
            if answer.delay > 0:
                asyncio.get_running_loop().call_later(answer.delay, self._answer, answer)
            else:
                self._answer(answer)

    def _answer(self, answer: Reply) -> None:
        if self._transport.is_closing() or answer.fault is Fault.HANG:
            return
        if answer.fault is Fault.RESET:
            self._reset()
        elif answer.fault is Fault.HEARTBEAT:
            self._transport.write(_head(answer, "transfer-encoding: chunked"))
            self._beat(answer.body, BEATS)
        elif answer.fault in (Fault.RESET_HALFWAY, Fault.TRUNCATE):
            self._transport.write(_whole_head(answer) + answer.body[: len(answer.body) // 2])
            if answer.fault is Fault.TRUNCATE:
                self._transport.close()
            else:
                asyncio.get_running_loop().call_later(BEAT_SECONDS, self._reset)  # the half arrives first
        else:
            self._transport.write(_whole_head(answer) + answer.body)

    def _beat(self, body: bytes, beats: int) -> None:
        if self._transport.is_closing():
            return
        if beats:
            self._transport.write(b"1\r\n\n\r\n")
            asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat, body, beats - 1)
        else:
            self._transport.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))

    def _reset(self) -> None:
        if self._transport.is_closing():  # the client was quicker
            return
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where there is one: 60 instead of 100 µs of CPU an answer."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _whole_head(answer: Reply) -> bytes:
    return _head(answer, f"content-length: {len(answer.body)}")


def _head(answer: Reply, framing: str) -> bytes:
    headers = {"content-type": "application/json"} | answer.headers
    lines = [f"HTTP/1.1 {answer.status} -", framing, *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def _read_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Method, target and headers."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, *_ = [*first.split(" "), "", ""]
    pairs = (line.partition(":") for line in lines)
    return method, target, {name.strip().lower(): value.strip() for name, _, value in pairs}
