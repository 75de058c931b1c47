"""A stand-in for UniAPI and Z.ai on loopback: answers like them, fails like them, in a thread of its own.

    with FarEnd() as far:
        settings = load_settings(uniapi_base_url=far.uniapi_url, zai_base_url=far.zai_url, …)
        far.uniapi.mode = "503"            # from now on
        far.zai.once("429-money", "hang")  # the next two calls

Its HTTP is the little that these clients need, so that it also bears a load test.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self, cast

from engine.demo.answers import answer
from engine.demo.far_end_replies import FAULTS, SHAPED, completion, fault, models, usage_report

Reply = Callable[[list[dict[str, Any]]], str]

HUGE_BYTES = 5_000_000
KEPT_CALLS = 2_000
HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 16 * 2**20

#: Ways to answer that any provider can be set to; `FAULTS` holds each provider's error answers.
BEHAVIOURS = frozenset({"ok", "slow", "hang", "reset", "truncated", "html", "huge", "heartbeat"}) | SHAPED


@dataclass(frozen=True, slots=True)
class Call:
    """A chat completion that was asked for."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    mode: str
    """How it was answered."""


@dataclass
class Script:
    """How one provider answers; every field may be set from any thread while it serves."""

    provider: str
    reply: Reply | None = None
    """Text to answer with, from the request's messages; the demo's own answers without it."""
    latency_seconds: float = 0.0
    """Before every answer."""
    slow_seconds: float = 2.0
    """Before an answer in the mode `slow`."""
    retry_after: str | None = None
    """Value of the `Retry-After` header of error answers."""
    total: int = 0
    """Chat completions asked for since start."""
    calls: deque[Call] = field(default_factory=lambda: deque(maxlen=KEPT_CALLS))
    """The newest of them."""
    _mode: str = "ok"
    _once: deque[str] = field(default_factory=deque)

    @property
    def mode(self) -> str:
        """How calls are answered when nothing is queued by `once`."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._mode = self._checked(mode)

    @property
    def modes(self) -> list[str]:
        """Every mode it knows."""
        return sorted(BEHAVIOURS | FAULTS[self.provider].keys())

    def once(self, *modes: str) -> None:
        """Answers the next calls like this, one mode each, before going on as before."""
        self._once.extend([self._checked(mode) for mode in modes])

    def take(self) -> str:
        """The mode of the next call."""
        try:
            return self._once.popleft()
        except IndexError:
            return self._mode

    def _checked(self, mode: str) -> str:
        if mode not in BEHAVIOURS and mode not in FAULTS[self.provider]:
            raise ValueError(f"{self.provider} has no mode {mode!r}; it has {', '.join(self.modes)}")
        return mode


class FarEnd:
    """Both providers on one port of 127.0.0.1. `start` and `stop` may be called from any thread."""

    def __init__(self, *, reply: Reply | None = None, latency_seconds: float = 0.0, port: int = 0) -> None:
        self.uniapi = Script("uniapi", reply, latency_seconds)
        self.zai = Script("zai", reply, latency_seconds)
        self.port = port
        """0 until `start` has taken a free one."""
        self.connections = 0
        """Accepted since start."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def uniapi_url(self) -> str:
        """What UNIAPI_BASE_URL is set to."""
        return f"{self.base_url}/v1"

    @property
    def zai_url(self) -> str:
        """What ZAI_BASE_URL is set to."""
        return f"{self.base_url}/api/paas/v4"

    def start(self) -> str:
        """Serves until `stop`; gives back the base URL. Raises OSError when the port is taken."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=2048)
        self.port = listener.getsockname()[1]
        self._loop = _new_loop()
        self._thread = threading.Thread(
            target=self._serve, args=(self._loop, listener), name="far-end", daemon=True
        )
        self._thread.start()
        return self.base_url

    def stop(self) -> None:
        """Drops every connection and ends the thread."""
        if self._loop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop = self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        asyncio.set_event_loop(loop)
        connections: set[_Connection] = set()
        server = loop.run_until_complete(
            loop.create_server(lambda: _Connection(self, connections), sock=listener)
        )
        try:
            loop.run_forever()
        finally:
            server.close()
            for connection in list(connections):
                connection.abort()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()


class _Connection(asyncio.Protocol):
    """One kept-alive HTTP/1.1 connection; one request at a time, as clients of chat APIs use it."""

    def __init__(self, far: FarEnd, connections: set[_Connection]) -> None:
        self._far = far
        self._connections = connections
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it
        self._connections.add(self)
        self._far.connections += 1

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
        method, path, headers = _read_head(self._buffer[:end])
        length = int(headers.get("content-length") or 0)
        if length > BODY_LIMIT:
            self.abort()
        elif len(self._buffer) >= end + 4 + length:
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            self._answer(method, path.partition("?")[0], headers, body)

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        far = self._far
        if path.endswith("/chat/completions") and method == "POST":
            self._chat(far.zai if "/paas/" in path else far.uniapi, path, headers, body)
        elif path == "/v1/models":
            self._plain(far.uniapi, headers, models())
        elif path == "/v1/billing/usage":
            self._plain(far.uniapi, headers, usage_report())
        else:
            self._send(404, _dump({"error": {"message": f"no such path: {path}"}}))

    def _plain(self, script: Script, headers: dict[str, str], data: dict[str, Any]) -> None:
        """A GET: refused like a chat while the key is bad or the provider is down, else answered."""
        mode = script.mode if script.mode in ("401", "500", "503", "hang", "reset") else "ok"
        self._after(script.latency_seconds, self._respond, script, mode, headers, data)

    def _chat(self, script: Script, path: str, headers: dict[str, str], body: bytes) -> None:
        try:
            asked = json.loads(body)
            messages = asked["messages"]
        except (ValueError, KeyError, TypeError):
            self._send(400, _dump(fault(script.provider, "400", "")[1]))
            return
        mode = script.take()
        script.total += 1
        script.calls.append(Call(path, headers, asked, mode))
        text = "" if mode in SHAPED else (script.reply or answer)(messages)
        data = completion(script.provider, asked, text, mode, script.total)
        pause = script.latency_seconds + (script.slow_seconds if mode == "slow" else 0.0)
        self._after(pause, self._respond, script, mode, headers, data)

    def _after(self, seconds: float, act: Callable[..., None], *args: Any) -> None:
        if seconds > 0:
            asyncio.get_running_loop().call_later(seconds, act, *args)
        else:
            act(*args)

    def _respond(self, script: Script, mode: str, headers: dict[str, str], data: dict[str, Any]) -> None:
        if self._transport.is_closing() or mode == "hang":
            return
        key = headers.get("authorization", "").removeprefix("Bearer ").strip()
        if not key:
            mode = "401"
        if mode in FAULTS[script.provider]:
            status, error = fault(script.provider, mode, key)
            self._send(status, _dump(error), script.retry_after)
            return
        body = _dump(data)
        if mode == "reset":
            self._reset(body)
        elif mode == "heartbeat":
            self._heartbeat(body)
        elif mode == "truncated":
            self._send(200, body[: len(body) // 2])
        elif mode == "html":
            self._send(200, b"<html><head><title>Just a moment</title></head></html>", kind="text/html")
        elif mode == "huge":
            self._send(200, body[:-1] + b',"padding":"' + b"x" * HUGE_BYTES + b'"}')
        else:
            self._send(200, body)

    def _send(
        self, status: int, body: bytes, retry_after: str | None = None, kind: str = "application/json"
    ) -> None:
        extra = f"retry-after: {retry_after}\r\n" if retry_after is not None else ""
        head = f"HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
        self._transport.write(head.encode() + body)

    def _reset(self, body: bytes) -> None:
        """Half an answer, then a TCP reset."""
        head = f"HTTP/1.1 200 -\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body[: len(body) // 2])
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        asyncio.get_running_loop().call_later(0.02, self.abort)  # so that the half arrives first

    def _heartbeat(self, body: bytes, beats: int = 3) -> None:
        """Blank lines while the model thinks, then the answer, in one chunked body."""
        if beats == 3:
            self._transport.write(
                b"HTTP/1.1 200 -\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
            )
        if self._transport.is_closing():
            return
        if beats:
            self._transport.write(b"1\r\n\n\r\n")
            asyncio.get_running_loop().call_later(0.02, self._heartbeat, body, beats - 1)
        else:
            self._transport.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))


def _new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where there is one: 60 instead of 100 µs of CPU an answer."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _read_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Method, path and headers, their names in lower case."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, *_ = [*first.split(" "), "", ""]
    pairs = (line.partition(":") for line in lines)
    return method, path, {name.strip().lower(): value.strip() for name, _, value in pairs}


def _dump(data: dict[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
