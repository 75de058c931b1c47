"""Accounts that are left alone, by a clock of the test's own."""

from __future__ import annotations

import pytest

from engine.model import Blocker
from engine.outbound.holds import Holds

ROUTE = "whatsapp_cloud/default"
BLOCKER = Blocker(code="channel.payment", what="Unpaid.", where=ROUTE, remedy="Pay.")


@pytest.fixture
def holds() -> Holds:
    return Holds()


def test_an_account_out_of_reach_is_tried_by_one_message_at_growing_intervals(holds: Holds) -> None:
    now, pauses = 100.0, []
    for _ in range(8):
        pauses.append(holds.unreached(ROUTE, BLOCKER, now))
        assert holds.closed(now) == [ROUTE]
        assert holds.wait(ROUTE, 1, now) > 0
        now += pauses[-1]
        assert holds.closed(now) == []
        assert holds.wait(ROUTE, 1, now) == 0
        assert holds.closed(now) == [ROUTE], "while one is tried no other is"
        assert holds.wait(ROUTE, 2, now) > 0
        holds.over(ROUTE, 2)
        assert holds.closed(now) == [ROUTE]
        holds.over(ROUTE, 1)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_of_several_answers_that_ask_for_less_the_longest_wait_counts(holds: Holds) -> None:
    holds.slower(ROUTE, 60, 0.0)
    holds.slower(ROUTE, 1, 0.5)
    assert holds.closed(59.0) == [ROUTE]
    holds.slower(ROUTE, 60, 1.0)
    assert holds.closed(60.5) == [ROUTE]
    assert holds.closed(61.0) == []


def test_sends_that_fail_together_lengthen_the_pause_once(holds: Holds) -> None:
    assert holds.unreached(ROUTE, BLOCKER, 0.0) == 1
    assert [holds.unreached(ROUTE, BLOCKER, 0.5) for _ in range(32)] == [0.5] * 32
    assert holds.blockers == [], "one hiccup is no blocker"
    holds.unreached(ROUTE, BLOCKER, 1.5)
    assert holds.blockers == [BLOCKER]


def test_a_trial_that_is_taken_frees_the_account_and_one_of_unknown_outcome_does_not(holds: Holds) -> None:
    holds.unreached(ROUTE, BLOCKER, 0.0)
    holds.wait(ROUTE, 1, 2.0)
    holds.inconclusive(ROUTE, 1, 2.0)
    holds.over(ROUTE, 1)
    assert holds.closed(3.0) == [ROUTE]
    holds.wait(ROUTE, 1, 4.0)
    assert holds.taken(ROUTE, 1, 4.0)
    holds.over(ROUTE, 1)
    assert holds.closed(4.0) == []
    assert not holds.taken(ROUTE, 1, 4.0)


def test_health_ends_a_stop_only_when_it_had_seen_the_trouble(holds: Holds) -> None:
    assert holds.stop(ROUTE, BLOCKER, 0.0) == 30
    assert not holds.healthy(ROUTE, True, 1.0)
    assert holds.blockers == [BLOCKER]
    holds.healthy(ROUTE, False, 2.0)
    assert holds.healthy(ROUTE, True, 3.0)
    assert (holds.blockers, holds.closed(3.0)) == ([], [])
    assert holds.wait(ROUTE, 1, 3.0) == 0
    assert holds.wait(ROUTE, 2, 3.0) > 0, "it is tried before it is trusted"


def test_a_stop_told_by_receipt_is_ended_by_receipt(holds: Holds) -> None:
    holds.stop(ROUTE, BLOCKER, 0.0, by_receipt=True)
    assert holds.wait(ROUTE, 1, 31.0) == 0
    assert not holds.taken(ROUTE, 1, 31.0), "it had taken the others too"
    holds.over(ROUTE, 1)
    assert holds.closed(90.0) == [ROUTE]
    assert holds.closed(91.5) == []
    assert holds.arrived(ROUTE)
    assert holds.blockers == []


def test_a_far_end_that_asks_for_less_is_no_trouble(holds: Holds) -> None:
    holds.slower(ROUTE, 5.0, 0.0)
    assert (holds.closed(4.9), holds.blockers) == ([ROUTE], [])
    assert [holds.wait(ROUTE, send, 5.0) for send in (1, 2)] == [0, 0]
    holds.stop(ROUTE, BLOCKER, 6.0)
    holds.slower(ROUTE, 0.1, 7.0)
    assert holds.closed(10.0) == [ROUTE]
