"""Backoff: exponential, jittered over its whole width, capped, never sooner than the far end asked."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.outbound.retry import LONGEST_WAIT, RetryPolicy

POLICY = RetryPolicy(base_seconds=2.0, cap_seconds=300.0, max_attempts=6)


def delays(attempts: int, count: int = 400) -> list[float]:
    rng = random.Random(1)
    return [POLICY.delay(attempts, rng) for _ in range(count)]


@pytest.mark.parametrize(
    ("attempts", "ceiling"), [(0, 2), (1, 2), (2, 4), (3, 8), (8, 256), (9, 300), (5000, 300)]
)
def test_the_wait_doubles_up_to_the_cap_and_is_spread_over_its_whole_width(
    attempts: int, ceiling: int
) -> None:
    waits = delays(attempts)
    assert 0 <= min(waits) < 0.05 * ceiling
    assert 0.95 * ceiling < max(waits) <= ceiling
    assert 0.4 * ceiling < sum(waits) / len(waits) < 0.6 * ceiling


@given(st.integers(0, 100), st.floats(0.001, 80_000), st.randoms(use_true_random=False))
def test_retry_after_is_a_floor_with_jitter_on_top(attempts: int, floor: float, rng: random.Random) -> None:
    assert floor <= POLICY.delay(attempts, rng, floor) <= floor + POLICY.cap_seconds


@pytest.mark.parametrize("nonsense", [float("nan"), float("inf"), -5.0, 0.0])
def test_a_senseless_retry_after_is_ignored(nonsense: float) -> None:
    assert 0 <= POLICY.delay(1, random.Random(0), nonsense) <= 2


def test_a_monstrous_retry_after_is_bounded() -> None:
    assert POLICY.delay(1, random.Random(0), 1e12) == LONGEST_WAIT


def test_same_rng_same_wait_and_different_rng_different_wait() -> None:
    assert POLICY.delay(3, random.Random(7)) == POLICY.delay(3, random.Random(7))
    assert POLICY.delay(3, random.Random(7)) != POLICY.delay(3, random.Random(8))


def test_a_message_is_given_up_after_the_last_attempt() -> None:
    assert [POLICY.exhausted(attempts) for attempts in (0, 5, 6, 7)] == [False, False, True, True]
