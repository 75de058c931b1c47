"""What httpx says, in httpcore's words, and back: requests, answers, errors.

Both pools of ours stand between the two.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import cast

import httpcore
import httpx

Over = Callable[[bool], Awaitable[None]]
"""Hears that an answer is done with, and whether it was read whole."""


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


def as_httpx(answer: httpcore.Response, over: Over) -> httpx.Response:
    """httpcore's answer as httpx's; `over` is told when it is closed."""
    body = _Body(cast("httpx.AsyncByteStream", answer.stream), over)
    return httpx.Response(answer.status, headers=answer.headers, stream=body, extensions=answer.extensions)


class _Body(httpx.AsyncByteStream):
    """The body of an answer."""

    def __init__(self, stream: httpx.AsyncByteStream, over: Over) -> None:
        self._stream = stream
        self._over = over
        self._whole = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with httpx_errors():
            async for part in self._stream:
                yield part
        self._whole = True

    async def aclose(self) -> None:
        try:
            with httpx_errors():
                await self._stream.aclose()
        finally:
            await self._over(self._whole)


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
