"""One HTTP exchange with a channel's far end, and what its failure means for a send."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from engine.channels.base import SendError, SendFailure
from engine.keepalive import close_if_more_came
from engine.logs import SecretMask
from engine.text import clean_for_storage, one_line

ANSWER_BYTES = 1_000_000
"""More than this is no answer of a chat service."""
CONNECT_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 24 * 3600.0
"""A far end that asks to be left alone for longer is asked again all the same."""
KEEPALIVE_SECONDS = 2.0
"""Below the 5 s after which Node servers close idle connections, so that a send never meets a dying one."""


def http_client(*, use_proxy: bool = True) -> httpx.AsyncClient:
    """A client for one account: no redirects, connections reused briefly, the environment's proxies."""
    return httpx.AsyncClient(
        follow_redirects=False,
        trust_env=use_proxy,
        headers={"Accept-Encoding": "identity", "User-Agent": "switchboard"},
        limits=httpx.Limits(max_connections=64, keepalive_expiry=KEEPALIVE_SECONDS),
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status and, when it could be read, parsed JSON."""

    status: int
    body: Any
    """None when it is not JSON."""
    text: str
    """The beginning of the body, one line, for messages to people."""
    retry_after: float | None
    """Seconds, from the `Retry-After` header."""

    def get(self, *path: str | int) -> Any:
        """The value at `path` within the body, or None."""
        value = self.body
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                return None
        return value


NO_SECRETS = SecretMask([])

leave_by: ContextVar[float] = ContextVar("leave_by", default=math.inf)
"""The loop's time after which a request of this task may not begin: others may have gone on without it."""


class _Phase:
    """Learns from httpx whether any byte of the request has been handed to the network."""

    def __init__(self, *, body: bool) -> None:
        """`body`: without it the request is nothing that a far end could act on."""
        self.request_started = False
        self._body = body

    async def __call__(self, event: str, _info: Mapping[str, Any]) -> None:
        if event.endswith("send_request_headers.started"):
            self._in_time()
            self.request_started = True
        elif self._body and event.endswith("send_request_body.started"):
            self._in_time()  # the loop has gone round since the head was written

    def _in_time(self) -> None:
        if asyncio.get_running_loop().time() >= leave_by.get():
            raise SendError(SendFailure.NOT_SENT, "The request was held up past its time and did not leave.")


async def exchange(
    client: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    timeout: float,
    mask: SecretMask = NO_SECRETS,
    json_body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request within `timeout` seconds, all in all. `mask` knows what authenticates us there.

    Raises SendError: `not_sent` when the request never started, `unknown` when no whole answer came.
    """
    if client.is_closed:
        raise SendError(SendFailure.NOT_SENT, "The channel is closed.")
    phase = _Phase(body=json_body is not None)
    try:
        request = client.build_request(
            method,
            url,
            json=json_body,
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=min(CONNECT_SECONDS, timeout)),
            extensions={"trace": phase},
        )
    except (ValueError, TypeError) as error:
        told = f"The message cannot be put into a request ({type(error).__name__})."
        raise SendError(SendFailure.PERMANENT, told) from None
    try:
        async with asyncio.timeout(timeout):
            response = await client.send(request, stream=True)
            try:
                raw = await _read(response)
                await close_if_more_came(response)
                return _answer(response, raw, mask)
            finally:
                await response.aclose()
    except (httpx.HTTPError, httpx.StreamError, OSError) as error:
        raise send_error(error, request_started=phase.request_started) from None


async def _read(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > ANSWER_BYTES:
            raise httpx.RemoteProtocolError("the answer is too long")
    return bytes(body)


def _answer(response: httpx.Response, raw: bytes, mask: SecretMask) -> Answer:
    try:
        body = mask.within(json.loads(raw))
    except (ValueError, RecursionError):
        body = None
    return Answer(
        status=response.status_code,
        body=body,
        text=one_line(mask(clean_for_storage(raw[:4000].decode("utf-8", "replace"))), 200),
        retry_after=retry_after_seconds(response.headers.get("Retry-After")),
    )


def retry_after_seconds(value: Any, now: datetime | None = None) -> float | None:
    """Seconds out of a `Retry-After`: a number, its text, or an HTTP date. None when it makes no sense."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        try:
            at = parsedate_to_datetime(str(value))
        except (ValueError, OverflowError):
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        seconds = (at - (now or datetime.now(UTC))).total_seconds()
    return min(max(0.0, seconds), LONGEST_WAIT_SECONDS) if math.isfinite(seconds) else None


_NEVER_STARTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


def send_error(error: Exception, *, request_started: bool | None = None) -> SendError:
    """What a failure of httpx means for the message.

    `request_started` is exact where known; without it the kind of exception decides: connecting and
    waiting for a connection are harmless, everything later is unknown.
    """
    if request_started is None:
        request_started = not isinstance(
            error, (*_NEVER_STARTED, httpx.UnsupportedProtocol, httpx.InvalidURL)
        )
    harmless = not request_started or isinstance(error, _NEVER_STARTED)
    said = one_line(
        str(error).partition("bytearray(")[0], 150
    )  # h11 quotes the far end, which may quote a secret
    told = f"{type(error).__name__}: {said}" if said else type(error).__name__
    if harmless:
        return SendError(SendFailure.NOT_SENT, f"The far end was not reached ({told}).")
    return SendError(SendFailure.UNKNOWN, f"No answer came after the request went out ({told}).")


def unexpected(answer: Answer, who: str) -> SendError:
    """An answer nobody documented: a client error or a redirect took nothing, the rest leaves it open."""
    told = f"{who} answered {answer.status}" + (f": {answer.text}" if answer.text else ".")
    if 300 <= answer.status < 400:
        kind, told = SendFailure.CHANNEL_DOWN, f"{told} (a redirect: correct the base URL)"
    elif answer.status == 429:  # of a proxy in between, whatever its body
        return SendError(SendFailure.RATE, told, retry_after=answer.retry_after, code="429")
    elif 400 <= answer.status < 500 and answer.status != 408:
        kind = SendFailure.PERMANENT
    else:
        kind = SendFailure.UNKNOWN
    return SendError(kind, told, code=str(answer.status))
