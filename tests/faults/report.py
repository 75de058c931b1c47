"""The result of the crash harness as a table."""

from __future__ import annotations

from collections.abc import Iterable

from tests.faults import checks
from tests.faults.harness import Report

SHOWN = 8
"""Violations of a kind that are listed; the rest is counted."""


def table(report: Report, gates: Iterable[Report] = ()) -> str:
    """What was injected, what came of it, and which mutations were caught."""
    rest = "not at all" if report.rest_seconds is None else f"{report.rest_seconds:.1f} s"
    rows: list[tuple[str, object]] = [
        *report.injections.items(),
        ("messages in", report.messages_in),
        ("replies out", report.replies_out),
        ("left to people", report.parked),
        ("given up as inbound_error", _reasons(report)),
        ("lost", report.count(checks.lost) + report.count(checks.stored_twice) + report.count(checks.untrue)),
        ("doubled", report.count(checks.doubled) + report.count(checks.replies)),
        ("out of order", report.count(checks.out_of_order)),
        ("sent after a takeover", report.count(checks.started_after_takeover)),
        ("illegal transitions", report.count(checks.illegal) + report.count(checks.stale_writers)),
        (
            "sent unmarked or again by itself",
            report.count(checks.unmarked) + report.count(checks.resent_unknowns),
        ),
        ("unknown outcomes listed", report.unknown),
        ("… of those really delivered", report.unknown_delivered),
        ("unknown outcomes settled since", report.reconciled),
        ("came to rest within", rest),
        ("took", f"{report.seconds:.0f} s"),
    ]
    rows += [(f"mutation gate: {gate.plan.name}", _caught(gate)) for gate in gates]
    width = max(len(name) for name, _ in rows)
    lines = [f"  {name:<{width}}  {value!s:>9}" for name, value in rows]
    return "\n".join([f"Crash harness: {report.plan.name}", *lines, *_violations(report)])


def _caught(gate: Report) -> str:
    if not gate.caught:
        return "NOT CAUGHT"
    return f"caught after {gate.seconds:.0f} s: {', '.join(gate.violations)}"


def _reasons(report: Report) -> str:
    told = ", ".join(f"{n} {reason}" for reason, n in report.gave_up.items())
    return f"{sum(report.gave_up.values())}" + (f" ({told})" if told else "")


def _violations(report: Report) -> list[str]:
    lines = []
    for name, found in report.violations.items():
        lines += [f"  ! {name}: {line}" for line in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"  ! {name}: and {len(found) - SHOWN} more")
    return lines
