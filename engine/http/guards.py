"""What stands between the network and the application: hosts, sizes, time, headers. Plain ASGI."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES = 3 * 1024 * 1024
BODY_SECONDS = 10.0
"""For a whole body to arrive."""
HELD_BYTES = 24 * 1024 * 1024
"""Of all bodies in memory at once; more is answered 503."""
DRAIN_SECONDS, DRAIN_BYTES = 1.0, 16 * 1024 * 1024
"""What is still read, and thrown away, of a body that is refused, so that its sender hears why."""

TOO_LARGE = (413, "the body is too large")
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guards:
    """Refuses strange hosts and oversized, compressed or dawdling bodies, before the application sees them.

    The application gets its body in one piece.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str],
        body_bytes: int = BODY_BYTES,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._app = app
        self._hosts = frozenset(hostname(host) for host in hosts)
        self._body_bytes = body_bytes
        self._body_seconds = body_seconds
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        headers = Headers(scope=scope)
        refusal = self._refusal(headers)
        body = Body(receive)
        try:
            if refusal is None:
                refusal = await self._read(body)
            if refusal is None:
                await self._app(scope, _replay(bytes(body.held), receive), send)
                return
        except ClientDisconnect:
            return
        finally:
            self._held -= len(body.held)
        if "expect" not in headers:
            await body.drain()
        await _refuse(send, *refusal)

    def _refusal(self, headers: Headers) -> tuple[int, str] | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hostname(hosts[0]) not in self._hosts:
            return 400, "this host is not served here"
        if headers.get("content-encoding", "identity").lower() != "identity":
            return 415, "compressed bodies are not taken"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._body_bytes:
            return TOO_LARGE
        return None

    async def _read(self, body: Body) -> tuple[int, str] | None:
        """Take the body in; or why it is not taken. Raises ClientDisconnect."""
        try:
            async with asyncio.timeout(self._body_seconds):
                while not body.ended:
                    chunk = await body.next()
                    body.held += chunk
                    self._held += len(chunk)
                    if len(body.held) > self._body_bytes:
                        return TOO_LARGE
                    if self._held > HELD_BYTES:
                        return 503, "too much at once"
        except TimeoutError:
            return 408, "the body took too long"
        return None


class Body:
    """A request's body as it comes in."""

    def __init__(self, receive: Receive) -> None:
        self.held = bytearray()
        self.ended = False
        self._receive = receive

    async def next(self) -> bytes:
        """The next piece. Raises ClientDisconnect."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        self.ended = not message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk

    async def drain(self) -> None:
        """Read on for a while and keep nothing."""
        left = DRAIN_BYTES
        with contextlib.suppress(TimeoutError, ClientDisconnect):
            async with asyncio.timeout(DRAIN_SECONDS):
                while left > 0 and not self.ended:
                    left -= len(await self.next())


def hostname(value: str) -> str:
    """A Host header without its port, in lower case; an IPv6 address without its brackets."""
    value = value.strip().lower()
    if value.startswith("["):
        return value[1:].partition("]")[0]
    return (value if value.count(":") > 1 else value.partition(":")[0]).rstrip(".")


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _with_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return with_headers


async def _refuse(send: Send, status: int, why: str) -> None:
    """Answer and close: the rest of the request is not read."""
    body = json.dumps({"detail": why}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
