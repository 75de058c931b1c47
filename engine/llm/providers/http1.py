"""A connection pool for httpx that costs the same per call with a thousand calls in flight as with one.

httpcore's own pool looks through every connection at every call. This one keeps the idle connections on
a stack; each connection is httpcore's own, so HTTP itself is not ours.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque

import httpcore
import httpx

from engine.llm.providers.bridge import as_httpcore, as_httpx, httpx_errors

KEEPALIVE_SECONDS = 30.0


class ConnectionStack(httpx.AsyncBaseTransport):
    """Kept-alive HTTP/1.1 connections to one origin; the one used last is used next, the others age out."""

    def __init__(self, connections: int, ssl_context: ssl.SSLContext | None) -> None:
        self._ssl_context = ssl_context
        self._slots = asyncio.Semaphore(connections)
        self._idle: deque[httpcore.AsyncHTTPConnection] = deque()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request; the connection comes back when the response is closed."""
        sent = as_httpcore(request)
        await self._slots.acquire()
        connection: httpcore.AsyncHTTPConnection | None = None
        try:
            connection = await self._take(sent.url.origin)
            with httpx_errors():
                answer = await connection.handle_async_request(sent)
        except BaseException:
            await self._drop(connection)
            raise
        return as_httpx(answer, lambda _: self._give_back(connection))

    async def aclose(self) -> None:
        """Closes the idle connections; those in use close when their response does."""
        while self._idle:
            await self._idle.pop().aclose()

    async def _take(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_available() and not connection.has_expired():
                return connection
            await connection.aclose()
        return httpcore.AsyncHTTPConnection(
            origin, ssl_context=self._ssl_context, keepalive_expiry=KEEPALIVE_SECONDS
        )

    async def _give_back(self, connection: httpcore.AsyncHTTPConnection) -> None:
        """Keeps the connection for the next call if its answer was read whole, and lets the oldest go."""
        if not connection.is_idle():
            await self._drop(connection)
            return
        self._idle.append(connection)
        self._slots.release()
        if self._idle[0].has_expired():
            await self._idle.popleft().aclose()

    async def _drop(self, connection: httpcore.AsyncHTTPConnection | None) -> None:
        self._slots.release()
        if connection is not None:
            await connection.aclose()
