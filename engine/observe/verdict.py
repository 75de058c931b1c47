"""What keeps messages from being answered, what a person should merely know, and how many make one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from engine.model import (
    Blocker,
    ComponentHealth,
    DispatcherSnapshot,
    EngineSnapshot,
    InboundStatus,
    Outcome,
    WorkerSnapshot,
)
from engine.observe.duration import duration
from engine.observe.reading import EngineState, QueueState, Reading
from engine.observe.state_sql import PAUSED_LIMIT
from engine.text import one_line

WAITING_SECONDS = 120.0
"""A message that waits longer than this is worth a word."""
CONNECTIONS_SHARE = 0.9
"""From this share of the server's connections on, the next engine may not get one."""

SEE_JOURNAL = "See the console's Journal: alert."
ALERT_REMEDIES = {
    "takeover": "Answer in the console's Inbox (w goes to who waits longest), or hand the conversation back (T).",
    "queue_age": "Look at “why no reply?” in the console's Messages.",
    "error_rate": "Read why in the console's Messages (filter status:error).",
    "spend": "See the budgets in the console's Usage.",
}
#: LLM providers in these states may still give a reply.
CAN_ANSWER = frozenset({"up", "degraded", "unknown"})
#: The most telling first.
WORKER_STATES = ("blocked", "paused", "stopping", "starting", "running")
COMPONENT_STATES = ("down", "degraded", "unconfigured", "unknown", "up")
_EPOCH = datetime.fromtimestamp(0, UTC)

Task = TypeVar("Task", WorkerSnapshot, DispatcherSnapshot)


def of_engine(engine: EngineSnapshot) -> tuple[list[Blocker], list[Blocker]]:
    """Blockers and warnings an engine reports. A provider's trouble blocks only when no other one is left."""
    llm = [component.blocker for component in engine.llm if component.blocker]
    channels = [component.blocker for component in engine.channels if component.blocker]
    reported = _of_state(engine) + engine.blockers + channels
    if any(component.state in CAN_ANSWER for component in engine.llm):
        return distinct(reported, beside=llm), distinct(llm + engine.warnings)
    return distinct(reported + llm), list(engine.warnings)


def _of_state(engine: EngineSnapshot) -> list[Blocker]:
    state = engine.inbound_worker.state
    if state not in ("starting", "stopping"):
        return []
    remedy = "It takes a few seconds." if state == "starting" else "Start it again: switchboard engine"
    return [_notice(f"engine.{state}", f"The engine {engine.name} is {state}.", engine.name, remedy)]


def of_engines(
    judged: Sequence[EngineSnapshot], others: Sequence[EngineSnapshot]
) -> tuple[list[Blocker], list[Blocker]]:
    """Blockers and warnings of several engines: while one of `judged` can answer, the rest only warns."""
    verdicts = [of_engine(engine) for engine in judged]
    blockers = [blocker for found, _ in verdicts for blocker in found]
    warnings = [warning for _, found in verdicts for warning in found]
    if any(not found for found, _ in verdicts):
        blockers, warnings = [], blockers + warnings
    for engine in others:
        found, noted = of_engine(engine)
        warnings += found + noted
    return distinct(blockers), distinct(warnings)


def distinct(blockers: Iterable[Blocker], *, beside: Iterable[Blocker] = ()) -> list[Blocker]:
    """Each once, in order; those in `beside` not at all."""
    seen = {(blocker.code, blocker.where) for blocker in beside}
    kept = []
    for blocker in blockers:
        key = (blocker.code, blocker.where)
        if key not in seen:
            seen.add(key)
            kept.append(blocker)
    return kept


def summed(parts: Sequence[Task]) -> Task | None:
    """One snapshot of many: counts added up, latest times, the most telling state; None of none."""
    if not parts:
        return None
    latest = max(parts, key=lambda part: part.last_error_at or _EPOCH)
    values: dict[str, Any] = {
        name: _together([getattr(part, name) for part in parts]) for name in type(parts[0]).model_fields
    }
    values["state"] = min((part.state for part in parts), key=WORKER_STATES.index)
    values["last_error"], values["last_error_at"] = latest.last_error, latest.last_error_at
    return type(parts[0])(**values)


def _together(values: list[Any]) -> Any:
    given = [value for value in values if value is not None]
    if not given or isinstance(given[0], str):
        return None
    if isinstance(given[0], bool):
        return all(given)
    if isinstance(given[0], int):
        return sum(given)
    if isinstance(given[0], list):
        return sorted({item for value in given for item in value})
    return max(given)


def worst(components: Iterable[ComponentHealth]) -> list[ComponentHealth]:
    """Of components of one name, the one that fares worst; in the order they came."""
    kept: dict[str, ComponentHealth] = {}
    for component in components:
        other = kept.get(component.name)
        if other is None or _rank(component) < _rank(other):
            kept[component.name] = component
    return list(kept.values())


def _rank(component: ComponentHealth) -> int:
    return COMPONENT_STATES.index(component.state)


def notices(reading: Reading, engines: Sequence[EngineState]) -> list[Blocker]:
    """What is worth a person's attention without being in the way."""
    found = []
    if reading.ai_paused:
        found.append(
            _notice(
                "ai.paused",
                "The AI is paused: messages wait and are not answered.",
                "et_platform_settings.ai_paused",
                "Resume it on the console's Overview (k).",
            )
        )
    found += [_paused_channel(name) for name in reading.paused_channels]
    if reading.paused_threads:
        number = reading.paused_threads
        told = f"{PAUSED_LIMIT}+" if number > PAUSED_LIMIT else str(number)
        many = f"{told} conversation{'' if number == 1 else 's'}"
        what = f"The AI is paused in {many}: what customers write there waits."
        found.append(
            _notice("thread.paused", what, "et_threads.paused_at", "Resume it in the console's Inbox (K).")
        )
    if reading.paused_tenants:
        found.append(
            _notice(
                "tenant.paused",
                f"{reading.paused_tenants} paused tenant(s): their messages wait.",
                "et_tenants.paused",
                "Resume them in the console's Settings.",
            )
        )
    found += [_silent(engine) for engine in engines if not engine.alive]
    found += [_deaf(engine) for engine in engines if engine.alive and _is_deaf(engine)]
    # A blocker shows as such.
    found += [
        _notice(f"alert.{one.rule}", one.what, one.subject, ALERT_REMEDIES.get(one.rule, SEE_JOURNAL))
        for one in reading.incidents
        if one.rule != "blocker"
    ]
    for queue in reading.queues:
        found += _of_queue(queue)
    used, limit = reading.database.connections, reading.database.connections_max
    if used and limit and used >= CONNECTIONS_SHARE * limit:
        found.append(
            _notice(
                "database.connections",
                f"{used} of {limit} connections of the server are in use.",
                reading.database.where,
                "Raise max_connections, or close what holds them.",
            )
        )
    return found


def _paused_channel(name: str) -> Blocker:
    what = f"The AI is paused on {one_line(name, 64)}: messages wait there and are not answered."
    return _notice("channel.paused", what, one_line(name, 64), "Resume it on the console's Overview (K).")


def _of_queue(queue: QueueState) -> list[Blocker]:
    count = f"{queue.count}{'+' if queue.more else ''}"
    if queue.outcome is Outcome.UNKNOWN and queue.count:
        what = f"{count} send(s) of unknown outcome: they are never sent again by themselves."
        remedy = "Decide each on the console's Outbound area: mark it sent, or retry it."
        return [_notice("outbound.unknown", what, "et_outbound_queue", remedy)]
    if queue.status == InboundStatus.ERROR and queue.count:
        what = f"{count} inbound message(s) ended in an error."
        remedy = (
            "Read why in the console's Messages, and replay them (r one, ctrl+r all that the filter shows)."
        )
        return [_notice("inbound.error", what, "et_messages", remedy)]
    age = queue.oldest_age_seconds
    if queue.status == InboundStatus.RECEIVED and age is not None and age > WAITING_SECONDS:
        what = f"An inbound message has waited {duration(age)} for its turn."
        remedy = "Look at “why no reply?” in the console's Messages."
        return [_notice("inbound.waiting", what, "et_messages", remedy)]
    return []


def _silent(engine: EngineState) -> Blocker:
    what = f"The engine {engine.name} last gave a sign {duration(engine.heartbeat_age_seconds)} ago."
    remedy = f"See what became of process {engine.pid} on {engine.host}; its work is taken over by others."
    return _notice("engine.silent", what, engine.name, remedy)


def _is_deaf(engine: EngineState) -> bool:
    return engine.inbound_worker.state == "running" and not engine.inbound_worker.listening


def _deaf(engine: EngineState) -> Blocker:
    return _notice(
        "inbound.not_listening",
        f"The engine {engine.name} gets no notifications and finds work by polling.",
        engine.name,
        "Connect to PostgreSQL directly: a pooler in transaction mode does not pass LISTEN on.",
    )


def _notice(code: str, what: str, where: str, remedy: str) -> Blocker:
    return Blocker(code=code, what=what, where=where, remedy=remedy)


def no_engine() -> Blocker:
    """Nobody claims messages."""
    what = "No engine is running: messages are stored but not answered."
    return _notice("engine.none", what, "et_engines", "Start one: switchboard engine")
