"""The simulated channel's far end: customers that receive messages, and a service that fails on demand.

    with ChannelFarEnd(receipts_to=store) as far:
        settings = load_settings(simulator_base_url=far.base_url, …)
        far.next(Conduct.RESET, Conduct.RATE)      # the next two sends
        far.mix({Conduct.SLOW: 0.1})               # a tenth of all others
        far.refuse_connections()
        far.duplicates()                           # what a customer got twice

It runs in a thread of its own, so that it outlives whatever becomes of the engine that talks to it.
"""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Self

from engine.channels.base import DEFAULT_ACCOUNT, Receipt, ReceiptStatus
from engine.demo.loopback import Fault, LoopbackServer, Reply, Request, reply

KEPT_ARRIVALS = 100_000


class Conduct(StrEnum):
    """How the service treats one send. Those marked * hand the message to the customer all the same."""

    OK = "ok"  # *
    SLOW = "slow"  # *
    NO_ID = "no_id"  # *: 200, but no id
    HANG = "hang"  # *: takes the message and never answers
    RESET = "reset"  # *: takes it and resets the connection
    TRUNCATED = "truncated"  # *: takes it and answers half
    GARBAGE = "garbage"  # *: takes it and answers something that is no JSON
    ERROR = "error"  # *: takes it and answers 500
    REJECT = "reject"  # 400, this message never
    LOCKED_OUT = "locked_out"  # 401, this account not
    RATE = "rate"  # 429
    BUSY = "busy"  # 503, not taken for now


_TAKES = frozenset(
    {
        Conduct.OK,
        Conduct.SLOW,
        Conduct.NO_ID,
        Conduct.HANG,
        Conduct.RESET,
        Conduct.TRUNCATED,
        Conduct.GARBAGE,
        Conduct.ERROR,
    }
)
_REFUSALS = {
    Conduct.REJECT: (400, "rejected", "The customer cannot receive this message."),
    Conduct.LOCKED_OUT: (401, "locked_out", "This account may not send."),
    Conduct.RATE: (429, "rate", "Slower, please."),
    Conduct.BUSY: (503, "busy", "Not now; the message was not taken."),
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message that reached its customer."""

    message_id: int
    part: int
    account: str
    to: str
    text: str
    provider_message_id: str
    at: datetime
    conduct: Conduct


class ChannelFarEnd:
    """Far end of the `simulator` channel. All attributes and methods may be used from any thread."""

    def __init__(
        self,
        *,
        receipts_to: Callable[[Receipt], None] | None = None,
        delivered_after: float = 0.0,
        read_after: float | None = None,
        rng: random.Random | None = None,
        port: int = 0,
    ) -> None:
        self.receipts_to = receipts_to
        """Called in the far end's thread with each receipt; it must not block."""
        self.delivered_after = delivered_after
        """Seconds from arrival to the receipt `delivered`."""
        self.read_after = read_after
        """Seconds from arrival to the receipt `read`; None: nobody reads."""
        self.latency = 0.0
        """Seconds before every answer."""
        self.slow_seconds = 1.0
        self.retry_after = 1.0
        """Seconds, in the header of a 429 and a 503."""
        self._rng = rng or random.Random()
        self._mix: dict[Conduct, float] = {}
        self._next: deque[Conduct] = deque()
        self._lock = threading.Lock()
        self._arrivals: deque[Arrival] = deque(maxlen=KEPT_ARRIVALS)
        self._counts: Counter[tuple[int, int]] = Counter()
        self._requests = 0
        self._server = LoopbackServer(self._handle, port=port)

    @property
    def base_url(self) -> str:
        return self._server.base_url

    def start(self) -> str:
        """Serves until `stop`; gives back the base URL."""
        self._server.start()
        return self.base_url

    def stop(self) -> None:
        self._server.stop()

    def refuse_connections(self) -> None:
        """From now on nobody gets a connection; those there are, are reset."""
        self._server.refuse_connections()

    def accept_connections(self) -> None:
        self._server.accept_connections()

    def next(self, *conducts: Conduct) -> None:
        """Treats the next sends like this, one each, before going on as before."""
        with self._lock:
            self._next.extend(conducts)

    def mix(self, probabilities: Mapping[Conduct, float]) -> None:
        """Treats sends like this, each with its probability, and the rest well; `{}` treats all well."""
        if any(p < 0 for p in probabilities.values()) or sum(probabilities.values()) > 1 + 1e-9:
            raise ValueError("probabilities are not negative and sum up to 1 at most")
        with self._lock:
            self._mix = dict(probabilities)

    @property
    def requests(self) -> int:
        """Sends asked for, taken or not."""
        with self._lock:
            return self._requests

    def arrivals(self) -> list[Arrival]:
        """What customers received, oldest first; the last 100,000."""
        with self._lock:
            return list(self._arrivals)

    def count(self, message_id: int) -> int:
        """How often a customer received our message (its first part)."""
        with self._lock:
            return self._counts[message_id, 0]

    def received(self) -> set[int]:
        """Ids of all our messages that a customer received."""
        with self._lock:
            return {message_id for message_id, _ in self._counts}

    def duplicates(self) -> dict[int, int]:
        """Our messages that a customer received more than once, and how often."""
        with self._lock:
            return {message_id: n for (message_id, part), n in self._counts.items() if n > 1 and part == 0}

    def send_receipt(self, arrival: Arrival, status: ReceiptStatus) -> None:
        """Sends a receipt for that message now."""
        if self.receipts_to is not None:
            self.receipts_to(
                Receipt(
                    account=arrival.account,
                    provider_message_id=arrival.provider_message_id,
                    message_id=arrival.message_id,
                    status=status,
                    at=datetime.now(UTC),
                )
            )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _handle(self, request: Request) -> Reply:
        if request.path == "/health":
            return reply({"ok": True})
        asked = request.json()
        if request.path != "/messages" or not isinstance(asked, dict):
            return reply({"error": {"code": "request", "message": "no such thing"}}, 404)
        with self._lock:
            self._requests += 1
            conduct = self._next.popleft() if self._next else self._drawn()
            arrival = self._deliver(asked, conduct) if conduct in _TAKES else None
        if arrival is None:
            status, code, message = _REFUSALS[conduct]
            answer = reply({"error": {"code": code, "message": message}}, status)
            if status in {429, 503}:
                answer = replace(answer, headers={"retry-after": str(self.retry_after)})
            return replace(answer, delay=self.latency)
        self._plan_receipts(arrival)
        return self._taken(arrival, conduct)

    def _drawn(self) -> Conduct:
        drawn = self._rng.random()
        for conduct, probability in self._mix.items():
            drawn -= probability
            if drawn < 0:
                return conduct
        return Conduct.OK

    def _deliver(self, asked: dict[str, Any], conduct: Conduct) -> Arrival:
        message_id, part = int(asked.get("message_id", 0)), int(asked.get("part", 0))
        self._counts[message_id, part] += 1
        arrival = Arrival(
            message_id=message_id,
            part=part,
            account=str(asked.get("account") or DEFAULT_ACCOUNT),
            to=str(asked.get("to", "")),
            text=str(asked.get("text", "")),
            provider_message_id=f"sim-{message_id}-{part}-{self._requests}",
            at=datetime.now(UTC),
            conduct=conduct,
        )
        self._arrivals.append(arrival)
        return arrival

    def _plan_receipts(self, arrival: Arrival) -> None:
        if self.receipts_to is None:
            return
        self._server.call_later(self.delivered_after, self.send_receipt, arrival, ReceiptStatus.DELIVERED)
        if self.read_after is not None:
            self._server.call_later(self.read_after, self.send_receipt, arrival, ReceiptStatus.READ)

    def _taken(self, arrival: Arrival, conduct: Conduct) -> Reply:
        good = reply({"id": arrival.provider_message_id})
        match conduct:
            case Conduct.SLOW:
                return replace(good, delay=self.latency + self.slow_seconds)
            case Conduct.NO_ID:
                return replace(good, body=b"{}", delay=self.latency)
            case Conduct.GARBAGE:
                return replace(good, body=b"<html>502</html>", delay=self.latency)
            case Conduct.ERROR:
                return Reply(500, b'{"error": {"code": "internal"}}', delay=self.latency)
            case Conduct.HANG:
                return replace(good, fault=Fault.HANG)
            case Conduct.RESET:
                return replace(good, fault=Fault.RESET, delay=self.latency)
            case Conduct.TRUNCATED:
                return replace(good, fault=Fault.TRUNCATE, delay=self.latency)
            case _:
                return replace(good, delay=self.latency)
