"""How a provider is doing: its circuit breaker and its figures.

    closed ──a failure that will last, or several transient ones in a row──▶ open
    open ──its time is over──▶ half-open: one call goes through as a trial (after `rate`: straight to closed)
    half-open ──the trial works──▶ closed       half-open ──it fails──▶ open, for longer
    open ──a probe works──▶ closed

Times are seconds of a monotonic clock, so a jump of the wall clock moves nothing.
"""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from engine.llm.failures import ProviderFailure
from engine.model import FailureClass

#: The provider did its work: the trouble lies in the request or in the answer's content.
ANSWERED = frozenset({FailureClass.REQUEST, FailureClass.CONTENT, FailureClass.STARVED, FailureClass.EMPTY})
#: Do not pass by themselves; a later, vaguer failure does not replace them as the cause.
LASTING = frozenset({FailureClass.AUTH, FailureClass.MONEY})

TRANSIENT_THRESHOLD = 5
"""Transient failures in a row that open the circuit."""
LASTING_SECONDS = 300.0
"""After this long one call tries again, whether the key was corrected or the account topped up."""
QUOTA_SECONDS = 900.0
"""When the far end does not say when its quota is refilled."""
LONGEST_SECONDS = 3600.0
"""Whatever the far end asks for, one call tries again after this long."""
RATE_SECONDS, RATE_CAP = 2.0, 60.0
TRANSIENT_SECONDS, TRANSIENT_CAP = 5.0, 60.0
WINDOW = 512
"""Latencies kept for the percentiles."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clock:
    """Wall time for records, monotonic seconds for waiting."""

    now: Callable[[], datetime] = _utc_now
    monotonic: Callable[[], float] = time.monotonic


class Ticket(NamedTuple):
    """Leave to call, to be handed back with the outcome."""

    epoch: int
    trial: bool = False


class Circuit:
    """The breaker of one provider. Outcomes of calls begun before it opened do not count twice."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self.cause: FailureClass | None = None
        """Why it is not closed."""
        self._until = 0.0
        self._epoch = 0
        self._trial = False
        self._openings = 0  # in a row, without a success between them
        self._transient_in_row = 0

    @property
    def state(self) -> Literal["closed", "open", "half-open"]:
        if self.cause is None or (self.cause is FailureClass.RATE and self.wait_seconds <= 0):
            return "closed"
        return "half-open" if self._trial else "open"

    @property
    def wait_seconds(self) -> float:
        """Seconds until a call may go through, 0 when one may now."""
        return max(0.0, self._until - self._clock.monotonic()) if self.cause else 0.0

    @property
    def cooldown_until(self) -> datetime | None:
        wait = self.wait_seconds
        return self._clock.now() + timedelta(seconds=wait) if wait > 0 else None

    def admits(self) -> bool:
        """Whether `admit` would let a call through now."""
        return self.wait_seconds <= 0 and not self._trial

    def admit(self) -> Ticket | None:
        """Leave to call now, or None. Must be followed by `succeeded`, `failed` or `abandoned`."""
        if not self.admits():
            return None
        if self.cause is FailureClass.RATE:
            self.cause = None
        self._trial = self.cause is not None
        return Ticket(self._epoch, self._trial)

    def succeeded(self, ticket: Ticket) -> None:
        """The call was answered."""
        self._transient_in_row = 0
        if ticket.trial or self.cause is None:
            self.close()

    def abandoned(self, ticket: Ticket) -> None:
        """The call says nothing about the provider: it was cancelled, or had too little time."""
        if ticket.trial:
            self._trial = False

    def failed(self, ticket: Ticket, failure: ProviderFailure) -> None:
        """The call failed: opens, reopens, or only counts."""
        kind = failure.failure
        if kind in ANSWERED:
            self.succeeded(ticket)
            return
        if ticket.epoch != self._epoch:
            self._late(failure)
            return
        if kind is FailureClass.TRANSIENT and self.cause is None:
            self._transient_in_row += 1
            if self._transient_in_row < TRANSIENT_THRESHOLD:
                return
        self._open(failure)

    def probe_failed(self, failure: ProviderFailure) -> None:
        """A probe failed: counts like a call."""
        self.failed(Ticket(self._epoch), failure)

    def close(self) -> None:
        """A call or a probe worked."""
        self.cause = None
        self._until = 0.0
        self._trial = False
        self._openings = 0
        self._transient_in_row = 0

    def _open(self, failure: ProviderFailure) -> None:
        self._until = self._clock.monotonic() + self._cooldown(failure)
        self._set_cause(failure.failure)
        self._openings += 1
        self._epoch += 1
        self._trial = False

    def _late(self, failure: ProviderFailure) -> None:
        """A failure of a call begun before the circuit opened: it may only make the wait longer."""
        if self.cause is None or failure.failure is FailureClass.TRANSIENT:
            return
        self._until = max(self._until, self._clock.monotonic() + self._cooldown(failure, openings=0))
        self._set_cause(failure.failure)

    def _set_cause(self, kind: FailureClass) -> None:
        if self.cause not in LASTING or kind in LASTING:
            self.cause = kind

    def _cooldown(self, failure: ProviderFailure, openings: int | None = None) -> float:
        """Seconds to leave the provider alone. What it asks for is a floor; the jitter is on top."""
        steps = min(self._openings if openings is None else openings, 16)
        asked = failure.retry_after
        if failure.reset_at is not None and asked is None:
            asked = (failure.reset_at - self._clock.now()).total_seconds()
        base = {
            FailureClass.RATE: min(RATE_CAP, RATE_SECONDS * 2**steps),
            FailureClass.QUOTA: QUOTA_SECONDS,
            FailureClass.TRANSIENT: min(TRANSIENT_CAP, TRANSIENT_SECONDS * 2**steps),
        }.get(failure.failure, LASTING_SECONDS)
        floor = base if asked is None else max(asked, 0.0)
        return min(floor, LONGEST_SECONDS) + self._rng.uniform(0.05, 0.25) * min(max(floor, 1.0), 20.0)


@dataclass
class Figures:
    """What became of the calls to one provider since start."""

    calls: int = 0
    skipped: int = 0
    in_flight: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    failures_in_row: int = 0
    last_error: str | None = None
    last_ok_at: datetime | None = None
    checked_at: datetime | None = None
    """When it was last heard of, by a call or a probe."""
    _latencies_ms: deque[int] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def answered(self, latency_ms: int, now: datetime) -> None:
        """Counts a call that gave a reply."""
        self._latencies_ms.append(latency_ms)
        self.heard(now)

    def heard(self, now: datetime) -> None:
        """Notes that the provider works."""
        self.failures_in_row = 0
        self.last_ok_at = self.checked_at = now

    def failed(self, failure: ProviderFailure, now: datetime) -> None:
        """Counts a call that gave none."""
        self.failures[failure.failure.value] += 1
        self.failures_in_row += 1
        self.last_error = failure.message
        self.checked_at = now

    def as_dict(self) -> dict[str, Any]:
        """For health; latencies in milliseconds over the last 512 replies."""
        ordered = sorted(self._latencies_ms)
        return {
            "calls": self.calls,
            "skipped": self.skipped,
            "in_flight": self.in_flight,
            "failures": dict(self.failures),
            "failures_in_row": self.failures_in_row,
            "p50_ms": _percentile(ordered, 0.50),
            "p95_ms": _percentile(ordered, 0.95),
            "last_error": self.last_error,
            "last_ok_at": self.last_ok_at.isoformat() if self.last_ok_at else None,
        }


def _percentile(ordered: list[int], share: float) -> int | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
