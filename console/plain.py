"""What the commands print: plain lines, for a person or a pager, without colour or cursor movement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from engine.observe.checklist import RegressionStep
    from engine.observe.doctor import Check
    from engine.observe.health import SystemHealth
    from engine.observe.reading import QueueState
    from engine.observe.trip import Stage, Trip
    from engine.supervisor import MigrationRun, Step

#: A word beside each mark, so that nothing hangs on a glyph.
MARKS = {"ok": "✓ ok  ", "warn": "! warn", "fail": "✗ fail", "skip": "· skip"}


def say(lines: str | Iterable[str], *, error: bool = False) -> None:
    """Print, with whatever is foreign in it made safe."""
    from engine.observe import sanitise

    for line in [lines] if isinstance(lines, str) else lines:
        typer.echo(sanitise(line), err=error)


def seconds(value: float | None) -> str:
    """An age as people say it: `12 s`, `3 min`, `5 h`, `2 d`."""
    if value is None:
        return ""
    for size, unit, most in ((1, "s", 120), (60, "min", 7200), (3600, "h", 172_800)):
        if value < most:
            return f"{value / size:.0f} {unit}"
    return f"{value / 86_400:.0f} d"


def check_lines(check: Check) -> Iterator[str]:
    """A line of the configuration checklist, and its remedy below it."""
    yield f"{MARKS[check.state]}  {check.name:<22} {check.what}"
    if check.remedy and check.state in ("warn", "fail"):
        yield f"{'':<32}→ {check.remedy}"


def step_line(step: RegressionStep) -> str:
    """A line of the regression checklist."""
    return f"{MARKS['ok' if step.ok else 'fail']}  {step.name:<18} {step.ms:>9.1f} ms  {step.detail}"


def migration_line(step: Step) -> str:
    """One of the six steps, as it went."""
    error = f"  {step.error}" if step.error else ""
    return (
        f"{step.name:<24} {step.status:<10} {step.ms:>9.1f} ms  {len(step.statements):>3} statements{error}"
    )


def migration_lines(run: MigrationRun, *, plan: bool) -> Iterator[str]:
    """How a run ended; of a plan, its SQL."""
    if plan:
        for step in run.steps:
            if step.status == "unchanged" or step.name.startswith("6"):
                continue
            yield f"-- step {step.name}"
            yield from (statement.rstrip().removesuffix(";") + ";" for statement in step.statements)
        yield "-- something is to be done" if run.changed else "-- nothing is to be done"
        return
    yield from (f"✗ {b.what} → {b.remedy}" for b in run.blockers)
    yield from (f"· drift: {line}" for line in run.drift)
    word = "changed" if run.changed else "unchanged"
    yield f"The schema is {'compatible' if run.ok else 'NOT compatible'} ({word}, {run.ms:.0f} ms)."


def health_lines(health: SystemHealth) -> Iterator[str]:
    """System health on one screen."""
    told = " (simulated)" if health.simulated else ""
    yield f"{'READY' if health.ready else 'NOT READY'}{told}   {health.checked_at:%Y-%m-%d %H:%M:%S} UTC"
    for mark, blockers in (("✗", health.blockers), ("!", health.warnings)):
        for blocker in blockers:
            yield f"{mark} {blocker.code}: {blocker.what}"
            yield f"    → {blocker.remedy}"
    base = health.database
    size = f", {base.size_bytes / 1e6:.0f} MB" if base.size_bytes is not None else ""
    used = f", {base.connections}/{base.connections_max} connections" if base.connections else ""
    delay = f", {base.latency_ms:.1f} ms" if base.latency_ms is not None else ""
    yield f"database   {base.where}, PostgreSQL {base.server_version or '?'}{size}{used}{delay}"
    for engine in health.engines:
        worker, sends = engine.inbound_worker, engine.outbound_dispatcher
        life = "" if engine.alive else ", SILENT"
        yield (
            f"engine     {engine.name}{life}, heartbeat {seconds(engine.heartbeat_age_seconds)} ago, "
            f"http {engine.http_address or 'off'}"
        )
        yield (
            f"           inbound {worker.state} {worker.in_flight}/{worker.in_flight_max}, {worker.replied} replied, "
            f"{worker.errors} errors; outbound {sends.state} {sends.in_flight}/{sends.in_flight_max}, "
            f"{sends.sent + sends.accepted} sent, {sends.failed} failed"
        )
    for component in [*health.llm_providers, *health.channels]:
        detail = f": {component.detail}" if component.detail else ""
        yield f"{component.kind:<10} {component.name} {component.state}{detail}"
    yield from _queue_lines(health.queues)


def _queue_lines(queues: Iterable[QueueState]) -> Iterator[str]:
    for queue in queues:
        if queue.count:
            name = f"{queue.status} ({queue.outcome})" if queue.outcome else queue.status
            count = f"{queue.count}{'+' if queue.more else ''}"
            held = f"   {queue.held} of them where the AI is paused" if queue.held else ""
            yield f"{queue.queue:<10} {name:<24} {count:>7}   oldest {seconds(queue.oldest_age_seconds)}{held}"


def stage_line(stage: Stage) -> str:
    """A change on a message's trip."""
    detail = f"  {stage.detail}" if stage.detail else ""
    return f"{stage.ms:>9.0f} ms  {stage.side:<8} {stage.status}{detail}"


def trip_lines(trip: Trip) -> Iterator[str]:
    """How a trip ended."""
    if trip.reply is not None:
        tokens = trip.reply.get("llm_total_tokens")
        yield f"reply      {trip.reply.get('text_content')}"
        yield f"           {trip.reply.get('llm_provider')}/{trip.reply.get('llm_model')}, {tokens} tokens"
    if not trip.ended:
        yield "The time is over; the message is still on its way."
