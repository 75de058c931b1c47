"""What each pane of the Overview says, as lines: from health and today's figures, no widget involved.

Nothing here changes while nothing happens: no running ages where a state will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from textual.content import Content

from console.sanitise import cell
from console.widgets.lines import Line, fit, heading
from console.words import (
    BAD,
    BUSY,
    GOOD,
    HEALTH,
    KEY,
    MUTED,
    OUTCOME,
    UNSEEN,
    WARN,
    Look,
    age,
    count,
    gauge,
    look,
    short,
    sparkline,
    usd,
)

if TYPE_CHECKING:
    from engine.model import Blocker, ComponentHealth, DispatcherSnapshot, WorkerSnapshot
    from engine.observe.health import SystemHealth
    from engine.observe.reading import EngineState, QueueState
    from engine.observe.usage import Budget, Today

#: Blockers and warnings by the beginning of their code: the key that clears or shows them, and where they lead.
REMEDY_KEYS = (
    ("schema", "m", ("act", "overview.migrate")),
    ("ai.paused", "k", ("act", "overview.pause_ai")),
    ("channel.paused", "K", ("act", "overview.pause_channel")),
    ("thread.paused", "enter", ("inbox", "paused")),
    ("llm.unconfigured", "7, then s", ("act", "go.settings")),
)
NAME = 16
UNKNOWN = "not known now"
HELD = Look("‖", "paused", WARN)
"""Of messages that wait where the AI is paused."""


def awaited(text: str, width: int) -> list[Line]:
    """What is awaited, or why it does not come, over as many lines as it needs."""
    import textwrap

    return [Line(cell(part)) for part in textwrap.wrap(cell(text, limit=500).plain, max(20, width))]


def readiness(health: SystemHealth, *, brief: bool) -> list[Line]:
    """Ready, or each blocker with its remedy and the key that does it; then what is worth knowing."""
    most = 2 if brief else 6
    lines = []
    if not health.blockers:
        lines.append(Line(_ready(health)))
    for blocker in health.blockers[:most]:
        lines += _blocker(blocker, "✗", BAD)
    for warning in health.warnings[: max(1, most - len(health.blockers))]:
        what, remedy = _blocker(warning, "!", WARN)
        lines += [Line(what.content, remedy.target)] if brief else [what, remedy]
    hidden = len(health.blockers) + len(health.warnings) - most
    if hidden > 0:
        lines.append(Line(Content.styled(f"  … and {hidden} more", MUTED)))
    return lines


def _ready(health: SystemHealth) -> Content:
    codes = {warning.code for warning in health.warnings}
    if "ai.paused" in codes:
        return Content.assemble(
            ("‖ Paused. ", WARN), ("Nothing is answered until the AI is let on again.", WARN)
        )
    but = ", but not where the AI is paused" if codes & {"channel.paused", "thread.paused"} else ""
    return Content.assemble(("● Ready. ", GOOD), (f"Inbound messages are answered{but}.", MUTED))


def _blocker(blocker: Blocker, glyph: str, style: str) -> list[Line]:
    key, target = next(((k, t) for code, k, t in REMEDY_KEYS if blocker.code.startswith(code)), ("", None))
    what = Content.assemble((f"{glyph} ", style), cell(blocker.what), "  ", cell(blocker.where, MUTED))
    remedy = Content.assemble("  → ", (f"[{key}] " if key else "", KEY), cell(blocker.remedy, MUTED))
    return [Line(what), Line(remedy, target)]


def engine_facts(health: SystemHealth) -> list[Any]:
    """What `engines` tells; a heartbeat that merely comes is none of it."""
    return [
        (engine.name, engine.simulated, engine.inbound_worker, engine.outbound_dispatcher)
        if engine.alive
        else (engine.name, age(engine.heartbeat_age_seconds))
        for engine in health.engines
    ]


def engines(health: SystemHealth, *, brief: bool, most: int = 4) -> list[Line]:
    """Each engine with its heartbeat and what its worker and dispatcher do."""
    alive = [engine for engine in health.engines if engine.alive]
    nobody = "none runs" if health.queues else UNKNOWN
    lines = [heading("Engines", f"{len(alive)} alive" if health.engines else nobody)]
    for engine in health.engines[:most]:
        lines += _brief_engine(engine) if brief and engine.alive else _engine(engine)
    if len(health.engines) > most:
        lines.append(Line(Content.styled(f"… and {len(health.engines) - most} more", MUTED)))
    return lines


def _brief_engine(engine: EngineState) -> list[Line]:
    worker, sender = engine.inbound_worker, engine.outbound_dispatcher
    state = HEALTH.get(worker.state, UNSEEN)
    return [
        Line(
            Content.assemble(
                (f"{state.glyph} {state.word}", state.style),
                (" · turns ", MUTED),
                f"{worker.in_flight}/{worker.in_flight_max}",
                (" · sends ", MUTED),
                f"{sender.in_flight}/{sender.in_flight_max}",
                (f" · {count(worker.replied)} replied", MUTED),
            )
        )
    ]


def _engine(engine: EngineState) -> list[Line]:
    if not engine.alive:
        silent = Content.styled(f"silent for {age(engine.heartbeat_age_seconds)}", BAD)
        return [Line(Content.assemble(("✗ ", BAD), cell(engine.name, limit=NAME + 8), "  ", silent))]
    worker, sender = engine.inbound_worker, engine.outbound_dispatcher
    state = HEALTH.get(worker.state, UNSEEN)
    beat = Content.assemble(
        (f"{state.glyph} {state.word}", state.style),
        ("" if worker.listening else " · polling only", WARN),
        (" · simulated" if engine.simulated else "", WARN),
        (f" · pid {engine.pid} on ", MUTED),
        cell(engine.host, MUTED, 32),
    )
    return [Line(beat), Line(_turns(worker)), Line(_sends(sender))]


def _turns(worker: WorkerSnapshot) -> Content:
    return Content.assemble(
        ("  turns ", MUTED),
        (f"{worker.in_flight}/{worker.in_flight_max}", BUSY if worker.in_flight else ""),
        (f" · {count(worker.replied)} replied · {count(worker.takeovers)} to people", MUTED),
        (f" · {count(worker.errors)} errors", BAD if worker.errors else MUTED),
    )


def _sends(sender: DispatcherSnapshot) -> Content:
    return Content.assemble(
        ("  sends ", MUTED),
        (f"{sender.in_flight}/{sender.in_flight_max}", BUSY if sender.in_flight else ""),
        (f" · {count(sender.sent + sender.accepted)} sent · {count(sender.retried)} retried", MUTED),
        (f" · {count(sender.unknown)} unknown", BAD if sender.unknown else MUTED),
    )


def paused_channels(health: SystemHealth) -> frozenset[str]:
    """Channels on which the AI is paused, by name."""
    return frozenset(w.where for w in health.warnings if w.code == "channel.paused")


def components(
    title: str,
    found: Sequence[ComponentHealth],
    most: int,
    *,
    brief: bool = False,
    held: frozenset[str] = frozenset(),
    heard: bool = True,
) -> list[Line]:
    """LLM providers, or channels: state, and why or how fast; `held` are channels on which the AI is paused.

    `heard`: an engine runs, which knows them all.
    """
    lines = [heading(title, "" if found else "none is set up" if heard else "no engine tells of them")]
    for component in found[:most]:
        state = HEALTH.get(component.state, UNSEEN)
        if component.name.partition("/")[0] in held:
            state = Look(state.glyph, "‖ paused", WARN)
        detail = component.detail or (component.blocker.what if component.blocker else "")
        lines.append(
            Line(
                Content.assemble(
                    (f"{state.glyph} ", state.style),
                    fit(cell(component.name), NAME if brief else NAME + 4),
                    " ",
                    fit(Content.styled(state.word, state.style), 9 if brief else 12),
                    (" SIMULATED" if component.simulated else "", WARN),
                    (_speed(component), MUTED),
                    " ",
                    cell(detail, MUTED),
                )
            )
        )
    if len(found) > most:
        lines.append(Line(Content.styled(f"… and {len(found) - most} more", MUTED)))
    return lines


def _speed(component: ComponentHealth) -> str:
    p50, p95 = component.figures.get("p50_ms"), component.figures.get("p95_ms")
    if not isinstance(p50, int) or not isinstance(p95, int):
        return ""
    return f" p50 {p50 / 1000:.1f}s p95 {p95 / 1000:.1f}s"


def queue_look(queue: QueueState) -> Look:
    """A queue's look; conversations of a person in which the customer waits are called by that."""
    if queue.status == "inbound_human_takeover":
        return Look("◆", "for a person", WARN)
    if queue.outcome is not None:
        return OUTCOME[queue.outcome]
    return look(queue.status)


def queues(health: SystemHealth, sparks: dict[str, str], *, brief: bool) -> list[Line]:
    """Every queue: how many now, how long the oldest has been there, and the last minutes.

    `brief` leaves out the empty ones.
    """
    shown = [queue for queue in health.queues if queue.count or not brief]
    lines = [heading("Queues", "now · oldest" if shown else "all empty" if health.queues else UNKNOWN)]
    for queue in shown:
        waiting = queue.count - queue.held
        if waiting or not (brief and queue.held):
            spark = sparks.get(spark_key(queue), "")
            lines.append(
                _queue(queue, queue_look(queue), waiting, queue.more, queue.oldest_age_seconds, spark)
            )
        if queue.held:
            lines.append(_queue(queue, HELD, queue.held, queue.more, queue.held_oldest_age_seconds))
    return lines


def _queue(
    queue: QueueState, state: Look, number: int, more: bool, oldest: float | None, spark: str = ""
) -> Line:
    return Line(
        Content.assemble(
            (" in  " if queue.queue == "inbound" else " out ", MUTED),
            (f"{state.glyph} {state.word:<13}", state.style if number else MUTED),
            fit(Content.styled(count(number, more), "" if number else MUTED), 6, right=True),
            fit(Content.styled(age(oldest), MUTED), 9, right=True),
            (f"  {spark}" if spark else "", BUSY),
        ),
        ("queue", (queue.status, queue.outcome)) if number else None,
    )


def queue_facts(health: SystemHealth) -> list[Any]:
    """What `queues` tells."""
    return [
        (
            q.status,
            q.outcome,
            q.count,
            q.more,
            age(q.oldest_age_seconds),
            q.held,
            age(q.held_oldest_age_seconds),
        )
        for q in health.queues
    ]


def spark_key(queue: QueueState) -> str:
    """The name of a queue's history."""
    return f"{queue.status}/{queue.outcome or ''}"


def traffic(series: Sequence[int], width: int, *, sparks: bool) -> list[Line]:
    """Messages a minute over the last hour, both directions; the running minute is the last bar."""
    per_minute, peak = series[-2] if len(series) > 1 else 0, max(series, default=0)
    lines = [heading("Messages a minute", f"{per_minute} in the last one · peak {peak}")]
    if sparks:
        bars = sparkline([float(value) for value in series], min(len(series), max(8, width - 2)))
        lines.append(Line(Content.styled(bars, BUSY)))
    return lines


def spending(today: Today, *, brief: bool) -> list[Line]:
    """Today's tokens and cost by model, and the tenants nearest to their caps."""
    total = f"{short(today.turns)} turns · {short(today.tokens)} tokens · {usd(today.cost_usd)}"
    unpriced = f" · {today.unpriced} without a price" if today.unpriced else ""
    lines = [heading("Today", Content.assemble((total, ""), (unpriced, WARN), (" (UTC)", MUTED)))]
    for model in today.models[: 1 if brief else 4]:
        name = Content.assemble(cell(model.provider, limit=20), " ", cell(model.model, MUTED, 40))
        lines.append(
            Line(
                Content.assemble(
                    fit(name, 30),
                    fit(Content.styled(short(model.turns), MUTED), 6, right=True),
                    fit(
                        Content.styled(short(model.prompt_tokens + model.completion_tokens), MUTED),
                        7,
                        right=True,
                    ),
                    fit(Content(usd(model.cost_usd)), 9, right=True),
                )
            )
        )
    capped = [budget for budget in today.budgets if budget.cap_usd is not None]
    return lines + [_budget(budget) for budget in capped[: 1 if brief else 3]]


def _budget(budget: Budget) -> Line:
    share = budget.share or 0.0
    style = BAD if share >= 1 else WARN if share >= 0.8 else GOOD
    return Line(
        Content.assemble(
            fit(cell(budget.name, limit=40), 16),
            (f"{gauge(min(share, 1.0), 14)} ", style),
            (f"{share:.0%} of {usd(budget.cap_usd)} a day", MUTED),
        )
    )
