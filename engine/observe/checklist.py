"""The regression checklist's steps, against a running engine: one message, from its INSERT to its dispatch.

    1 ready · 2 system health · 3 inbound message · 4 inbound status · 5 outbound row · 6 dispatch

Needs the engine's address, its admin token and its database, and nothing else of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import httpx
import psycopg
from pydantic import BaseModel, ValidationError

from engine.model import AITrace, InboundStatus, SwitchboardError
from engine.observe.trip import Trip, follow, inject
from engine.text import one_line

TEXT = "Regression check: please answer with one short sentence."
READY_SECONDS = 20.0
USAGE_COLUMNS = (
    "llm_provider",
    "llm_model",
    "llm_prompt_tokens",
    "llm_completion_tokens",
    "llm_total_tokens",
)
STEP_NAMES = (
    "1 ready",
    "2 system health",
    "3 inbound message",
    "4 inbound status",
    "5 outbound row",
    "6 dispatch",
)


class RegressionStep(BaseModel):
    """One line of the checklist, and what was seen."""

    name: str
    ok: bool
    detail: str
    ms: float


class Failed(Exception):
    """A step did not find what it should; the text says what it found."""


@dataclass
class Target:
    """The engine to go through."""

    dsn: str
    url: str
    host: str
    """The Host header it answers to."""
    token: str
    patience: float
    """Seconds for the message's trip."""
    message_id: int = 0
    trip: Trip | None = None
    trip_task: asyncio.Task[Trip] | None = field(default=None, repr=False)


async def run_checklist(
    target: Target, on_step: Callable[[RegressionStep], None] = lambda _: None
) -> list[RegressionStep]:
    """Run the steps in order; a failed one leaves out those after it. `on_step` hears of each."""
    checks: tuple[Callable[[Target, httpx.AsyncClient], Awaitable[str]], ...] = (
        _ready,
        _system_health,
        _inbound_message,
        _inbound_status,
        _outbound_row,
        _dispatch,
    )
    steps: list[RegressionStep] = []
    options: dict[str, Any] = {"base_url": target.url, "headers": {"Host": target.host}, "timeout": 10}
    async with httpx.AsyncClient(**options, trust_env=False) as client:
        for name, check in zip(STEP_NAMES, checks, strict=True):
            if steps and not steps[-1].ok:
                step = RegressionStep(name=name, ok=False, detail="not run", ms=0)
            else:
                step = await _step(name, check(target, client))
            steps.append(step)
            on_step(step)
    if target.trip_task is not None:
        target.trip_task.cancel()
        await asyncio.gather(target.trip_task, return_exceptions=True)
    return steps


async def _step(name: str, check: Awaitable[str]) -> RegressionStep:
    started = time.perf_counter()
    try:
        ok, detail = True, await check
    except Failed as error:
        ok, detail = False, str(error)
    except (httpx.HTTPError, psycopg.Error, OSError, ValueError) as error:
        ok, detail = False, f"{type(error).__name__}: {error}"
    except SwitchboardError as error:
        ok, detail = False, str(error)
    ms = round((time.perf_counter() - started) * 1000, 1)
    return RegressionStep(name=name, ok=ok, detail=one_line(detail, 500), ms=ms)


async def _ready(target: Target, client: httpx.AsyncClient) -> str:
    """Waits a little: an engine that has just started or been migrated may need a moment."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        answer = await client.get("/api/v1/ready")
        if answer.status_code == 200 and answer.json() == {"status": "ready"}:
            return f"GET {target.url}/api/v1/ready: 200 ready"
        if time.monotonic() > deadline:
            health = await _health(target, client)
            raise Failed(f"{answer.status_code} {answer.json()['status']}: {_blockers(health)}")
        await asyncio.sleep(0.25)


async def _system_health(target: Target, client: httpx.AsyncClient) -> str:
    health = await _health(target, client)
    if health["ready"] is not True or health["blockers"] != []:
        raise Failed(f"ready={health['ready']}: {_blockers(health)}")
    return f"ready=true, blockers=[]{' (simulated)' if health['simulated'] else ''}"


async def _health(target: Target, client: httpx.AsyncClient) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {target.token}"}
    answer = await client.get("/api/v1/platform/system-health", headers=headers)
    if answer.status_code == 401:
        raise Failed("the engine has another admin token: set SWITCHBOARD_ADMIN_TOKEN to its own")
    answer.raise_for_status()
    health: dict[str, Any] = answer.json()
    return health


def _blockers(health: dict[str, Any]) -> str:
    return "; ".join(f"{b['what']} {b['remedy']}" for b in health["blockers"]) or "no blocker is named"


async def _inbound_message(target: Target, _client: httpx.AsyncClient) -> str:
    sender = f"regression-{datetime.now(UTC):%Y%m%dT%H%M%S}-{token_hex(3)}"
    target.message_id = (await inject(target.dsn, TEXT, sender=sender)).message_id
    target.trip_task = asyncio.create_task(follow(target.dsn, target.message_id, seconds=target.patience))
    return f"message {target.message_id} of the simulated customer {sender}"


async def _inbound_status(target: Target, _client: httpx.AsyncClient) -> str:
    assert target.trip_task is not None
    target.trip = trip = await target.trip_task
    seen = [stage for stage in trip.stages if stage.side == "inbound"]
    path = " → ".join(stage.status for stage in seen)
    if not seen or seen[-1].status != InboundStatus.AI_REPLIED:
        said = seen[-1].detail if seen else ""
        raise Failed(f"{path or 'never seen'}{f' ({said})' if said else ''}")
    if trip.thread_id is None:
        raise Failed("the message has no thread")
    return f"{path} in {seen[-1].ms:.0f} ms, thread {trip.thread_id}"


async def _outbound_row(target: Target, _client: httpx.AsyncClient) -> str:
    reply = target.trip.reply if target.trip else None
    if reply is None:
        raise Failed("there is no reply row")
    missing = [name for name in USAGE_COLUMNS if reply[name] is None]
    if missing:
        raise Failed(f"not populated: {', '.join(missing)}")
    try:
        trace = AITrace.model_validate((reply["raw_payload"] or {}).get("ai_trace"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise Failed(f"raw_payload.ai_trace: {'.'.join(map(str, first['loc']))} {first['msg']}") from None
    usage = trace.usage
    told = (trace.provider, trace.model, usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)
    columns = tuple(reply[name] for name in USAGE_COLUMNS)
    if told != columns:
        raise Failed(f"columns and trace differ: {columns} and {told}")
    cost = reply["llm_estimated_cost_usd"]
    price = "price unknown" if cost is None else f"{cost} USD"
    return f"message {reply['id']}: {trace.provider}/{trace.model}, {usage.total_tokens} tokens, {price}; trace valid"


async def _dispatch(target: Target, _client: httpx.AsyncClient) -> str:
    assert target.trip is not None
    path = " → ".join(stage.status for stage in target.trip.stages if stage.side == "outbound")
    if not target.trip.delivered:
        last = next((s for s in reversed(target.trip.stages) if s.side == "outbound"), None)
        raise Failed(f"{path or 'no queue row'}{f' ({last.detail})' if last and last.detail else ''}")
    return f"{path} in {target.trip.stages[-1].ms:.0f} ms"
