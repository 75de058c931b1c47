"""Which connections calls to a far end go through."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from engine.llm.providers.http1 import ConnectionStack
from engine.llm.providers.http2 import SharedConnections
from engine.settings import LOOPBACK


def client_transport(
    base_url: str, connections: int, *, http2: bool = False
) -> httpx.AsyncBaseTransport | None:
    """The pool for calls to `base_url`; None behind a proxy of the environment, which httpx's own knows.

    `connections`: of HTTP/1.1, at most. `http2` counts only for https, where both ends agree on it.
    """
    url = urlsplit(base_url)
    host = url.hostname or ""
    if host not in LOOPBACK and url.scheme in getproxies() and not proxy_bypass(host):
        return None
    if url.scheme != "https":
        return ConnectionStack(connections, None)
    stack = ConnectionStack(connections, httpx.create_ssl_context())
    # A context of its own: httpcore writes into it what is offered to the far end.
    return SharedConnections(httpx.create_ssl_context(), stack) if http2 else stack
