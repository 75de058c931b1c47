"""uvicorn inside the engine's own event loop: no signal handlers, no access log, nobody dawdles."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from engine.model import SwitchboardError
from engine.settings import Settings

CONNECTIONS = 256
"""At once; more are answered 503."""
HEADER_BYTES = 16 * 1024
HEADER_SECONDS = 10
"""For a request's head to arrive, on a new connection."""
IDLE_SECONDS = 5
"""A kept-alive connection that asks nothing."""
DRAIN_SECONDS = 3
"""For requests under way when the server stops."""
BACKLOG = 128


class HttpError(SwitchboardError):
    """The HTTP address cannot be served."""


class Protocol(H11Protocol):
    """HTTP/1.1 that hangs up when the next request does not arrive in time, be it byte by byte."""

    _head: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head = self.loop.call_later(HEADER_SECONDS, self._hang_up)

    def on_response_complete(self) -> None:
        self._head.cancel()
        self._head = self.loop.call_later(IDLE_SECONDS + HEADER_SECONDS, self._hang_up)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head.cancel()
        super().connection_lost(exc)

    def _hang_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to the engine, and wakes once a second instead of ten times."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self.stopping.wait()


class HttpServer:
    """A server under way."""

    def __init__(self, server: _Server, listener: socket.socket, host: str) -> None:
        self._server = server
        self._listener = listener
        port = listener.getsockname()[1]
        self.address = f"{f'[{host}]' if ':' in host else host}:{port}"
        """host:port as bound."""
        self.task: asyncio.Task[None] = asyncio.create_task(server.serve(sockets=[listener]), name="http")
        """Ends when the server does; raises what broke it."""

    async def started(self) -> None:
        """Wait until it takes requests. Raises HttpError when it does not come to that."""
        while not self._server.started:
            if self.task.done():
                await self.stop()
                raise HttpError("The HTTP server did not start.", "See the log.")
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Take no more requests, let those under way end (3 s), and close. May be called twice."""
        self._server.should_exit = True
        self._server.stopping.set()
        await asyncio.wait({self.task}, timeout=DRAIN_SECONDS + 2)
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task
        self._listener.close()


async def serve_http(app: FastAPI, settings: Settings) -> HttpServer:
    """Serve `app` where the settings say. Raises HttpError when the address cannot be had."""
    listener = bind(settings.http_host, settings.http_port)
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = HttpServer(_Server(config), listener, settings.http_host)
    await server.started()
    return server


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises HttpError with a remedy."""
    place = f"{host}:{port}"
    try:
        info: list[Any] = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
        )
    except OSError as error:
        raise HttpError(
            f"The HTTP host {host} is unknown ({error.strerror}).", "Correct SWITCHBOARD_HTTP_HOST."
        ) from None
    family, kind, protocol, _, address = info[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _bind_error(error, host, port, place) from None
    return listener


def _bind_error(error: OSError, host: str, port: int, place: str) -> HttpError:
    if error.errno == errno.EADDRINUSE:
        return HttpError(
            f"Port {port} is taken on {host}.",
            "If another engine runs here, attach to it: switchboard --no-engine. Else set SWITCHBOARD_HTTP_PORT.",
        )
    if error.errno == errno.EACCES:
        return HttpError(
            f"Port {port} may not be used by this user.", "Set SWITCHBOARD_HTTP_PORT to 1024 or more."
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return HttpError(f"{host} is not an address of this machine.", "Correct SWITCHBOARD_HTTP_HOST.")
    return HttpError(f"{place} cannot be served: {error.strerror}.", "Set SWITCHBOARD_HTTP_HOST and _PORT.")
