"""When to try a failed send again."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

LONGEST_WAIT = 24 * 3600.0
"""Seconds; a far end that asks for more is asked again after a day."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with full jitter: engines that failed together do not come back together."""

    base_seconds: float
    """The first wait is up to this long; each further one up to twice the one before."""
    cap_seconds: float
    """No wait of ours is longer."""
    max_attempts: int
    """Tries, the first included."""

    def exhausted(self, attempts: int) -> bool:
        """Whether a message tried `attempts` times is given up."""
        return attempts >= self.max_attempts

    def delay(self, attempts: int, rng: random.Random, retry_after: float | None = None) -> float:
        """Seconds to wait after `attempts` tries (1 after the first).

        A far end's `retry_after` is a floor; the jitter comes on top, so that not everybody who was
        told the same number returns in the same moment.
        """
        doublings = min(max(attempts, 1) - 1, 60)
        jitter = rng.uniform(0.0, min(self.cap_seconds, self.base_seconds * 2.0**doublings))
        if retry_after is None or not math.isfinite(retry_after) or retry_after <= 0:
            return jitter
        return min(retry_after + jitter, LONGEST_WAIT)
