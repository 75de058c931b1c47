"""Faults 1, 3, 11 and 12 at random and all at once, and the gates: the harness must fail when a guard is missing.

`python -m tests.faults` runs the same and prints the table; `--long` is the soak.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.faults.harness import LONG, SHORT, Report, gate, run
from tests.faults.mutations import MUTATIONS
from tests.faults.report import table
from tests.support.crashable import CrashablePostgres

#: One after the other on one worker: each wants the whole machine.
pytestmark = pytest.mark.xdist_group("crash")


@pytest.fixture(scope="module")
def postgres() -> Iterator[CrashablePostgres]:
    with CrashablePostgres() as server:
        yield server


def judged(report: Report) -> Report:
    """The report, once nothing in it breaks a promise."""
    sys.stdout.write(table(report) + "\n")
    assert report.violations == {}, table(report)
    assert report.rest_seconds is not None
    assert report.replies_out > 0
    assert report.injections["takeovers"] > 0
    assert report.injections["duplicates"] > 0
    return report


@pytest.mark.timeout(240)
def test_nothing_is_lost_doubled_or_out_of_order(postgres: CrashablePostgres) -> None:
    report = judged(run(SHORT, postgres))
    assert report.injections["kill -9"] >= SHORT.kills // 2
    assert report.injections["freezes past the lease"] >= SHORT.freezes // 2
    assert report.injections["terminated backends"] >= SHORT.terminations // 2
    assert report.injections["PostgreSQL crashes"] == SHORT.crashes


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", MUTATIONS)
def test_the_harness_catches(postgres: CrashablePostgres, name: str) -> None:
    """With a guard taken out, the harm it prevents is done, and seen."""
    report = run(gate(MUTATIONS[name]), postgres)
    assert report.caught, table(report)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_thousand_deaths(postgres: CrashablePostgres) -> None:
    report = judged(run(LONG, postgres))
    assert report.injections["kill -9"] >= 1000
    assert report.injections["freezes past the lease"] >= 150
    assert report.injections["terminated backends"] >= 150
    assert report.injections["PostgreSQL crashes"] >= 2
