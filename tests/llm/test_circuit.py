"""The circuit breaker, by a clock that is moved by hand."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from engine.llm.failures import ProviderFailure
from engine.llm.health import LONGEST_SECONDS, TRANSIENT_THRESHOLD, Circuit
from engine.model import FailureClass
from tests.llm.conftest import HandClock


@pytest.fixture
def circuit(hand_clock: HandClock) -> Circuit:
    return Circuit(hand_clock.clock, random.Random(3))


def fail(circuit: Circuit, kind: FailureClass, **details: object) -> None:
    """A call that is admitted and fails."""
    ticket = circuit.admit()
    assert ticket is not None
    circuit.failed(ticket, ProviderFailure(kind, "x", **details))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [FailureClass.AUTH, FailureClass.MONEY, FailureClass.QUOTA])
def test_trouble_that_lasts_opens_at_once_and_one_trial_closes(
    circuit: Circuit, hand_clock: HandClock, kind: FailureClass
) -> None:
    fail(circuit, kind)
    assert (circuit.state, circuit.cause, circuit.admit()) == ("open", kind, None)
    hand_clock.advance(circuit.wait_seconds + 0.001)
    trial = circuit.admit()
    assert trial is not None
    assert circuit.state == "half-open"
    assert circuit.admit() is None, "one trial at a time"
    circuit.succeeded(trial)
    assert (circuit.state, circuit.cause) == ("closed", None)


def test_a_trial_that_fails_opens_again(circuit: Circuit, hand_clock: HandClock) -> None:
    fail(circuit, FailureClass.AUTH)
    hand_clock.advance(circuit.wait_seconds)
    fail(circuit, FailureClass.TRANSIENT)
    assert (circuit.state, circuit.cause) == ("open", FailureClass.AUTH), (
        "a vaguer failure does not hide the cause"
    )
    assert circuit.wait_seconds > 0


def test_a_cancelled_trial_leaves_room_for_another(circuit: Circuit, hand_clock: HandClock) -> None:
    fail(circuit, FailureClass.MONEY)
    hand_clock.advance(circuit.wait_seconds)
    trial = circuit.admit()
    assert trial is not None
    circuit.abandoned(trial)
    assert circuit.admit() is not None


def test_transient_failures_open_only_in_a_row(circuit: Circuit) -> None:
    for _ in range(TRANSIENT_THRESHOLD - 1):
        fail(circuit, FailureClass.TRANSIENT)
    ticket = circuit.admit()
    assert ticket is not None
    circuit.succeeded(ticket)
    for _ in range(TRANSIENT_THRESHOLD - 1):
        fail(circuit, FailureClass.TRANSIENT)
    assert circuit.state == "closed"
    fail(circuit, FailureClass.TRANSIENT)
    assert circuit.state == "open"


@pytest.mark.parametrize(
    "kind", [FailureClass.REQUEST, FailureClass.CONTENT, FailureClass.STARVED, FailureClass.EMPTY]
)
def test_a_bad_request_says_nothing_against_the_provider(circuit: Circuit, kind: FailureClass) -> None:
    for _ in range(3 * TRANSIENT_THRESHOLD):
        fail(circuit, kind)
    assert circuit.state == "closed"


def test_retry_after_is_a_floor_with_jitter_on_top(circuit: Circuit, hand_clock: HandClock) -> None:
    waits = set()
    for _ in range(20):
        fail(circuit, FailureClass.RATE, retry_after=7.0)
        waits.add(circuit.wait_seconds)
        assert 7.0 < circuit.wait_seconds < 10.0
        hand_clock.advance(circuit.wait_seconds)
    assert len(waits) == 20


def test_a_rate_limit_that_is_over_lets_everybody_in(circuit: Circuit, hand_clock: HandClock) -> None:
    fail(circuit, FailureClass.RATE)
    assert circuit.state == "open"
    hand_clock.advance(circuit.wait_seconds)
    assert circuit.state == "closed"
    assert all(circuit.admit() for _ in range(10))


def test_rate_limits_in_a_row_wait_longer_up_to_a_minute(circuit: Circuit, hand_clock: HandClock) -> None:
    waits = []
    for _ in range(10):
        fail(circuit, FailureClass.RATE)
        waits.append(circuit.wait_seconds)
        hand_clock.advance(circuit.wait_seconds)
    assert waits[0] < 4 < waits[1] < waits[2]
    assert 60 < waits[-1] < 66


def test_many_calls_that_fail_together_count_once(circuit: Circuit, hand_clock: HandClock) -> None:
    tickets = [circuit.admit() for _ in range(64)]
    for ticket in tickets:
        assert ticket is not None
        circuit.failed(ticket, ProviderFailure(FailureClass.RATE, "x"))
    assert circuit.wait_seconds < 4


def test_a_late_failure_can_only_make_the_wait_longer_or_the_cause_plainer(circuit: Circuit) -> None:
    early, late, later = circuit.admit(), circuit.admit(), circuit.admit()
    assert early and late and later
    circuit.failed(early, ProviderFailure(FailureClass.RATE, "x", retry_after=30.0))
    circuit.failed(late, ProviderFailure(FailureClass.RATE, "x", retry_after=1.0))
    assert circuit.wait_seconds >= 30
    circuit.failed(later, ProviderFailure(FailureClass.MONEY, "x"))
    assert (circuit.cause, circuit.wait_seconds >= 300) == (FailureClass.MONEY, True)


def test_a_late_success_does_not_close_what_opened_meanwhile(circuit: Circuit) -> None:
    early = circuit.admit()
    assert early is not None
    fail(circuit, FailureClass.AUTH)
    circuit.succeeded(early)
    assert circuit.state == "open"


def test_a_quota_waits_for_its_reset(circuit: Circuit, hand_clock: HandClock) -> None:
    fail(circuit, FailureClass.QUOTA, reset_at=hand_clock.start + timedelta(minutes=20))
    assert 1200 < circuit.wait_seconds < 1206
    until = circuit.cooldown_until
    assert until is not None
    assert until > hand_clock.start + timedelta(minutes=20)


@pytest.mark.parametrize("details", [{"retry_after": 1e9}, {"retry_after": 0.0}, {}])
def test_no_wait_is_longer_than_an_hour_or_none_at_all(circuit: Circuit, details: dict[str, float]) -> None:
    fail(circuit, FailureClass.QUOTA, **details)
    assert 0 < circuit.wait_seconds < LONGEST_SECONDS + 6


def test_a_reset_days_ahead_is_tried_within_the_hour(circuit: Circuit, hand_clock: HandClock) -> None:
    fail(circuit, FailureClass.QUOTA, reset_at=hand_clock.start + timedelta(days=5))
    assert circuit.wait_seconds < LONGEST_SECONDS + 6
