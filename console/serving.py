"""The console in a browser: a server on loopback whose pages each drive a console of their own.

Every page gets its own process, attached to the engine that runs already; none brings an engine. A page is
let in by a secret of this run, which the printed address carries and a cookie keeps: other users of this
machine, and other sites in the same browser, are not. Nothing a page needs comes from another host.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.server import Server

from console.main import PAGE_DRIVER
from engine.settings import SwitchboardError

CHILD = "from console.main import main; main()"
GOODBYE_SECONDS = 5.0
"""What a page's console gets to end by itself."""
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; font-src 'self'; connect-src 'self' ws://{place}; frame-ancestors 'none';"
    " base-uri 'none'; form-action 'none'"
)
HEADERS = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ServeError(SwitchboardError):
    """The browser console cannot be served there."""


def listen(host: str, port: int) -> socket.socket:
    """A socket at a loopback address; port 0 takes a free one.

    Raises ServeError when the address is not loopback, or the port cannot be had.
    """
    if not _is_loopback(host):
        raise ServeError(
            f"{host} is not a loopback address, and this console answers customers.",
            "Serve it on 127.0.0.1 and reach it from elsewhere through SSH:"
            f" ssh -L {port or 8800}:127.0.0.1:{port or 8800} you@this-machine",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except PermissionError:
        raise ServeError(
            f"Port {port} is reserved for the system.", "Choose one from 1024 up with --port."
        ) from None
    except OSError as error:
        raise ServeError(
            f"Nothing can be served at {host}:{port}: {error.strerror or error}.",
            "Stop what uses the port, or choose another with --port (0 takes a free one).",
        ) from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class ConsoleServer(Server):
    """textual-serve's server, closed to everybody without this run's secret."""

    def __init__(self, listener: socket.socket, options: Sequence[str]) -> None:
        """`options` of `switchboard` go to each page's console, beside `--no-engine`."""
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        self._place = f"{shown}:{port}"
        child = [sys.executable, "-c", CHILD, "--no-engine", *options]
        super().__init__(
            shlex.join(["exec", "env", f"TEXTUAL_DRIVER={PAGE_DRIVER}", *child]),
            host=host,
            port=port,
            title="Switchboard",
            public_url=f"http://{self._place}",
        )
        self._listener = listener
        self._headers = HEADERS | {"Content-Security-Policy": POLICY.format(place=self._place)}
        self._secret = secrets.token_urlsafe(32)
        self._cookie = f"switchboard-{port}"
        self._pages: set[web.WebSocketResponse] = set()

    @property
    def address(self) -> str:
        """What to open in a browser; whoever knows it can use the console."""
        return f"{self.public_url}/?token={self._secret}"

    def run(self) -> int:
        """Serve until a signal ends it; returns the exit code."""
        logging.getLogger("aiohttp.server").setLevel(logging.ERROR)
        return asyncio.run(self._serve())

    async def _serve(self) -> int:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[int] = loop.create_future()

        def end(number: int) -> None:
            if not ended.done():
                ended.set_result(128 + number)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, end, number)
        runner = web.AppRunner(await self._make_app(), access_log=None, shutdown_timeout=GOODBYE_SECONDS)
        await runner.setup()
        try:
            await web.SockSite(runner, self._listener).start()
            return await ended
        finally:
            await runner.cleanup()

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._guard)
        return app

    async def on_startup(self, app: web.Application) -> None:
        """Nothing: the command says where it serves."""

    async def on_shutdown(self, app: web.Application) -> None:
        """Close the pages; their consoles end with them."""
        for page in set(self._pages):
            await page.close(message=b"The server stops.")

    async def _process_messages(self, websocket: web.WebSocketResponse, app_service: AppService) -> None:
        self._pages.add(websocket)
        try:
            await super()._process_messages(websocket, app_service)
        finally:
            self._pages.discard(websocket)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in whoever has the secret, by the name served here, from a page of ours."""
        if request.host != self._place:
            return web.Response(status=400, text=f"This is {self.public_url} and answers to no other name.")
        if request.headers.get("Origin", self.public_url) != self.public_url:
            return web.Response(status=403, text="Not from another site.")
        if request.path == "/" and self._knows(request.query.get("token", "")):
            welcome = web.HTTPFound("/")
            welcome.set_cookie(self._cookie, self._secret, httponly=True, samesite="Strict", path="/")
            raise welcome
        if not self._knows(request.cookies.get(self._cookie, "")):
            return web.Response(status=403, text="Open the address that `switchboard serve` printed.")
        response = await handler(request)
        if not response.prepared:
            response.headers.update(self._headers)
        return response

    def _knows(self, said: str) -> bool:
        return secrets.compare_digest(said.encode("utf-8", "replace"), self._secret.encode())


def serve(host: str, port: int, options: Sequence[str], say: Callable[[str], None]) -> int:
    """Serve the console at a loopback address until a signal; returns the exit code. Raises ServeError."""
    with listen(host, port) as listener:
        server = ConsoleServer(listener, options)
        os.environ.pop("TMUX", None)  # a page's clipboard is the browser's
        say(f"The console is at {server.address}")
        say("Whoever has this address can use it. Ctrl+C ends it, and every page with it.")
        return server.run()
