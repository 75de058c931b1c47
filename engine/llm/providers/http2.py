"""Calls that share HTTP/2 connections, where the far end speaks it.

It saves connections and their handshakes, and costs more CPU than it saves. HTTP/2 itself is httpcore's, which ends
the calls under way when the far end says that it will close (GOAWAY); so no connection is used for longer than far
ends commonly allow, and one on which a call has failed gets no more.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from functools import partial

import httpcore
import httpx

from engine.llm.providers.bridge import as_httpcore, as_httpx, httpx_errors
from engine.llm.providers.http1 import KEEPALIVE_SECONDS, ConnectionStack

STREAMS = 100
"""Calls on one connection at once; far ends allow 100 and more."""
CALLS = 500
"""Calls on one connection in all; nginx closes it after 1,000."""
TRIES = 5


class _Shared:
    """A connection, and the calls on it."""

    __slots__ = ("asked", "connection", "socket", "under_way")

    def __init__(self, connection: httpcore.AsyncHTTPConnection) -> None:
        self.connection = connection
        self.socket: httpcore.AsyncNetworkStream | None = None
        """Known from the first answer on."""
        self.asked = 0
        self.under_way = 0

    def has_room(self) -> bool:
        return self.under_way < STREAMS and self.asked < CALLS and self.connection.is_available()

    def is_over(self) -> bool:
        """Whether an idle connection is not to be used any more: the far end has said something, if only goodbye."""
        heard = self.socket is not None and self.socket.get_extra_info("is_readable")
        return bool(heard) or self.connection.has_expired() or self.connection.is_closed()


class SharedConnections(httpx.AsyncBaseTransport):
    """HTTP/2 connections to one origin. A far end that turns out to speak HTTP/1.1 only is called through `stack`."""

    def __init__(self, ssl_context: ssl.SSLContext, stack: ConnectionStack) -> None:
        self._ssl_context = ssl_context
        self._stack = stack
        self._open: list[_Shared] = []
        self._http1_only = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request beside others; what the far end has not looked at is sent again on another connection."""
        for _ in range(TRIES):
            if self._http1_only:
                return await self._stack.handle_async_request(request)
            with httpx_errors(), suppress(httpcore.ConnectionNotAvailable):
                return await self._ask(as_httpcore(request))
        raise httpx.ConnectError("the far end takes no calls on any connection")

    async def _ask(self, request: httpcore.Request) -> httpx.Response:
        shared = await self._take(request.url.origin)
        try:
            answer = await shared.connection.handle_async_request(request)
        except BaseException:
            await self._leave(shared, False)
            raise
        finally:
            self._http1_only |= "HTTP/1.1" in shared.connection.info()
        shared.socket = answer.extensions["network_stream"]
        return as_httpx(answer, partial(self._leave, shared))

    async def _take(self, origin: httpcore.Origin) -> _Shared:
        """A connection with room for one more call, which is counted already."""
        over = [shared for shared in self._open if not shared.under_way and shared.is_over()]
        for shared in over:  # all before the first wait, in which others take connections
            self._open.remove(shared)
        for shared in over:
            await shared.connection.aclose()
        taken = next((shared for shared in self._open if shared.has_room()), None)
        if taken is None:
            taken = _Shared(
                httpcore.AsyncHTTPConnection(
                    origin, ssl_context=self._ssl_context, keepalive_expiry=KEEPALIVE_SECONDS, http2=True
                )
            )
            self._open.append(taken)
        taken.under_way += 1
        taken.asked += 1
        return taken

    async def _leave(self, shared: _Shared, whole: bool) -> None:
        """A call is over; after one whose answer was not read `whole` nobody can trust the connection.

        One that is to get no more calls closes with the last one on it.
        """
        shared.under_way -= 1
        if shared in self._open and (not whole or shared.asked >= CALLS or self._http1_only):
            self._open.remove(shared)
        if shared not in self._open and not shared.under_way:
            await shared.connection.aclose()

    async def aclose(self) -> None:
        """Closes every connection, and with it what is under way."""
        while self._open:
            await self._open.pop().connection.aclose()
        await self._stack.aclose()
