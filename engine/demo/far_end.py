"""A stand-in for UniAPI and Z.ai on loopback: answers like them, fails like them.

with FarEnd() as far:
    settings = load_settings(uniapi_base_url=far.uniapi_url, zai_base_url=far.zai_url, …)
    far.uniapi.mode = "503"            # from now on
    far.zai.once("429-money", "hang")  # the next two calls
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from engine.demo.answers import answer
from engine.demo.far_end_replies import FAULTS, SHAPED, completion, fault, models, usage_report
from engine.demo.loopback import Fault, LoopbackServer, Reply, Request

Author = Callable[[list[dict[str, Any]]], str]
"""Writes the text of an answer from the request's messages."""

HUGE_BYTES = 5_000_000
KEPT_CALLS = 2_000
JUST_A_MOMENT = b"<html><head><title>Just a moment</title></head></html>"
NETWORK_FAULTS = {"hang": Fault.HANG, "reset": Fault.RESET_HALFWAY, "heartbeat": Fault.HEARTBEAT}

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
    reply: Author | None = None
    """The demo's own answers without it."""
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

    def __init__(self, *, reply: Author | None = None, latency_seconds: float = 0.0, port: int = 0) -> None:
        self.uniapi = Script("uniapi", reply, latency_seconds)
        self.zai = Script("zai", reply, latency_seconds)
        self.balances = 0
        """Balances asked for since start."""
        self._server = LoopbackServer(self._answer, port=port)

    @property
    def port(self) -> int:
        """0 until `start` has taken a free one."""
        return self._server.port

    @property
    def connections(self) -> int:
        """Accepted since start."""
        return self._server.accepted

    @property
    def base_url(self) -> str:
        return self._server.base_url

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
        self._server.start()
        return self.base_url

    def stop(self) -> None:
        """Drops every connection and ends the thread."""
        self._server.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _answer(self, request: Request) -> Reply:
        if request.path.endswith("/chat/completions") and request.method == "POST":
            return _chat(self.zai if "/paas/" in request.path else self.uniapi, request)
        if request.path == "/v1/models":
            return _look_up(self.uniapi, request, models())
        if request.path == "/v1/billing/usage":
            self.balances += 1
            return _look_up(self.uniapi, request, usage_report(self.uniapi.total))
        return Reply(404, _dump({"error": {"message": f"no such path: {request.path}"}}))


def _look_up(script: Script, request: Request, data: dict[str, Any]) -> Reply:
    """A GET: refused like a chat while the key is bad or the provider is down, else answered."""
    mode = script.mode if script.mode in ("401", "500", "503", "hang", "reset") else "ok"
    return _reply(script, mode, request, data, script.latency_seconds)


def _chat(script: Script, request: Request) -> Reply:
    asked = request.json()
    messages = asked.get("messages") if isinstance(asked, dict) else None
    if messages is None:
        return Reply(400, _dump(fault(script.provider, "400", "")[1]))
    mode = script.take()
    script.total += 1
    script.calls.append(Call(request.path, request.headers, asked, mode))
    text = "" if mode in SHAPED else (script.reply or answer)(messages)
    data = completion(script.provider, asked, text, mode, script.total)
    delay = script.latency_seconds + (script.slow_seconds if mode == "slow" else 0.0)
    return _reply(script, mode, request, data, delay)


def _reply(script: Script, mode: str, request: Request, data: dict[str, Any], delay: float) -> Reply:
    key = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    if not key:
        mode = "401"
    if mode in FAULTS[script.provider]:
        status, error = fault(script.provider, mode, key)
        extra = {} if script.retry_after is None else {"retry-after": script.retry_after}
        return Reply(status, _dump(error), extra, delay=delay)
    if mode == "html":
        return Reply(200, JUST_A_MOMENT, {"content-type": "text/html"}, delay=delay)
    body = _dump(data)
    if mode == "truncated":
        body = body[: len(body) // 2]
    elif mode == "huge":
        body = body[:-1] + b',"padding":"' + b"x" * HUGE_BYTES + b'"}'
    return Reply(200, body, fault=NETWORK_FAULTS.get(mode), delay=delay)


def _dump(data: dict[str, Any]) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
