"""When a message may leave."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engine.channels.base import Capabilities
from engine.outbound.pacing import Pacer, quiet_until

FAST = Capabilities(receipts=False, webhook=True, polling=False, max_text=100)
SLOW = Capabilities(
    receipts=False, webhook=True, polling=False, max_text=100, per_second=10, recipient_gap_seconds=6
)


def test_a_channel_without_rates_never_waits() -> None:
    pacer = Pacer()
    assert [pacer.reserve(0, "a", "x", FAST, 10) for _ in range(5)] == [0] * 5


def test_one_recipient_waits_and_others_only_for_the_account() -> None:
    pacer = Pacer()
    assert pacer.reserve(0, "a", "x", SLOW, 10) == 0
    assert pacer.reserve(0, "a", "x", SLOW, 10) == pytest.approx(6)
    assert pacer.reserve(0, "b", "x", SLOW, 10) == 0, "another account is another matter"
    assert pacer.reserve(20, "a", "x", SLOW, 10) == 0


def test_what_must_wait_too_long_reserves_nothing() -> None:
    pacer = Pacer()
    pacer.reserve(0, "a", "x", SLOW, 5)
    assert pacer.reserve(0, "a", "x", SLOW, 5) == pytest.approx(6)
    assert pacer.reserve(6, "a", "x", SLOW, 5) == 0


@pytest.mark.parametrize(
    ("now", "hours", "until"),
    [
        ("2026-03-01T21:30", ("22:00", "07:00"), "2026-03-02T06:00"),  # 22:30 in Prague
        ("2026-03-02T03:00", ("22:00", "07:00"), "2026-03-02T06:00"),  # past midnight
        ("2026-03-02T06:00", ("22:00", "07:00"), None),  # 07:00: over
        ("2026-03-01T20:00", ("22:00", "07:00"), None),
        ("2026-03-01T12:00", ("12:00", "14:00"), "2026-03-01T13:00"),
        ("2026-07-01T21:30", ("22:00", "07:00"), "2026-07-02T05:00"),  # summer time
        ("2026-03-01T21:30", (None, "07:00"), None),
        ("2026-03-01T21:30", ("late", "07:00"), None),
        ("2026-03-01T21:30", ("22:00+01:00", "07:00"), None),  # no local time
    ],
)
def test_quiet_hours_are_local_and_may_pass_midnight(
    now: str, hours: tuple[str | None, str | None], until: str | None
) -> None:
    found = quiet_until(datetime.fromisoformat(now).replace(tzinfo=UTC), "Europe/Prague", *hours)
    assert found == (datetime.fromisoformat(until).replace(tzinfo=UTC) if until else None)
