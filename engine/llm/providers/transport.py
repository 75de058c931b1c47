"""A connection pool for httpx that costs the same per call with a thousand calls in flight as with one.

httpcore's own pool looks through every connection at every call. This one keeps the idle connections on
a stack; each connection is httpcore's own, so HTTP itself is not ours.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import cast

import httpcore
import httpx

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
        body = _Body(self, connection, cast("httpx.AsyncByteStream", answer.stream))
        return httpx.Response(
            answer.status, headers=answer.headers, stream=body, extensions=answer.extensions
        )

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

    async def give_back(self, connection: httpcore.AsyncHTTPConnection) -> None:
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


class _Body(httpx.AsyncByteStream):
    """The body of an answer; closing it gives the connection back."""

    def __init__(
        self, stack: ConnectionStack, connection: httpcore.AsyncHTTPConnection, stream: httpx.AsyncByteStream
    ) -> None:
        self._stack = stack
        self._connection = connection
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with httpx_errors():
            async for part in self._stream:
                yield part

    async def aclose(self) -> None:
        try:
            with httpx_errors():
                await self._stream.aclose()
        finally:
            await self._stack.give_back(self._connection)


def as_httpcore(request: httpx.Request) -> httpcore.Request:
    """httpx's request as httpcore's."""
    raw = request.url
    return httpcore.Request(
        request.method,
        httpcore.URL(scheme=raw.raw_scheme, host=raw.raw_host, port=raw.port, target=raw.raw_path),
        headers=request.headers.raw,
        content=cast("httpx.AsyncByteStream", request.stream),
        extensions=request.extensions,
    )


@contextmanager
def httpx_errors() -> Iterator[None]:
    """httpcore's errors as httpx's."""
    try:
        yield
    except httpcore.ConnectTimeout as error:
        raise httpx.ConnectTimeout(str(error)) from error
    except httpcore.TimeoutException as error:
        raise httpx.ReadTimeout(str(error)) from error
    except httpcore.ConnectError as error:
        raise httpx.ConnectError(str(error)) from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ConnectionNotAvailable) as error:
        raise httpx.ReadError(str(error)) from error
