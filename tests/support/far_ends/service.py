"""What all stand-ins for messaging services share: faults on request, and a record of what was asked."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Self

from engine.demo.loopback import Fault, LoopbackServer, Reply, Request


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message the service took."""

    to: str
    text: str
    body: dict[str, Any]


class Service:
    """A service on loopback. Subclasses answer as documented; `next` makes one send go wrong.

    Faults every service knows: reset, hang, truncated, garbage (all after the message was taken), and those
    it documents by the names rejected, locked_out, rate, no_id, server_error.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.arrived: list[Arrived] = []
        self.healthy = True
        self.retry_after = 7
        """Seconds to wait, as a `rate` answer tells."""
        self._next: deque[str] = deque()
        self._lock = threading.Lock()
        self._server = LoopbackServer(self._handle)

    @property
    def base_url(self) -> str:
        return self._server.base_url

    def next(self, *faults: str) -> None:
        """Treats the next sends like this, one each."""
        self._next.extend(faults)

    def refuse_connections(self) -> None:
        self._server.refuse_connections()

    def accept_connections(self) -> None:
        self._server.accept_connections()

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def _handle(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
            return self.answer(request)

    def answer(self, request: Request) -> Reply:
        """The answer to any request."""
        raise NotImplementedError

    def refusal(self, fault: str) -> Reply | None:
        """The documented answer for a fault, or None where the message is taken all the same."""
        raise NotImplementedError

    def send(self, to: str, body: dict[str, Any], text: str, good: Reply, *, without_id: Reply) -> Reply:
        """Takes one message, or lets it go wrong as planned."""
        fault = self._next.popleft() if self._next else "ok"
        refused = self.refusal(fault)
        if refused is not None:
            return refused
        self.arrived.append(Arrived(to, text, body))
        match fault:
            case "ok":
                return good
            case "no_id":
                return without_id
            case "reset":
                return Reply(fault=Fault.RESET)
            case "hang":
                return Reply(fault=Fault.HANG)
            case "truncated":
                return Reply(good.status, good.body, fault=Fault.TRUNCATE)
            case "garbage":
                return Reply(200, b"<html>Just a moment</html>", {"content-type": "text/html"})
        raise ValueError(f"no such fault: {fault}")
