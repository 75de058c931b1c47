"""The regression checklist, run for real: one message, from its INSERT to the dispatch of its reply.

    1 ready · 2 system health · 3 one inbound message · 4 its status · 5 the outbound row · 6 the dispatch

It goes through a running engine of this machine, or through one of its own. The message is a simulated
customer's; nothing that is there already is changed. Where a stand-in answers instead of a language model,
only a database without real conversations will do: a stand-in must not answer people.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import httpx
import psycopg
from pydantic import BaseModel, SecretStr, ValidationError

from engine.admin_token import admin_token
from engine.channels.registry import ChannelRegistry, build_channels
from engine.channels.simulator import SimulatorChannel
from engine.database.handle import Database
from engine.demo.far_end import FarEnd
from engine.model import AITrace, InboundStatus, SwitchboardError
from engine.observe.reading import ALIVE_SECONDS
from engine.observe.trip import Trip, follow, inject
from engine.settings import Settings
from engine.supervisor import Engine
from engine.text import one_line

TEXT = "Regression check: please answer with one short sentence."
START_SECONDS = 30.0
READY_SECONDS = 20.0
SLACK_SECONDS = 30.0
"""For everything about a message but the quiet window and the turn."""
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


class Regression(BaseModel):
    """The whole checklist."""

    ok: bool
    engine: str
    """Whose engine the message went through."""
    far_end: str
    """Who answered in the place of the language model, in words."""
    steps: list[RegressionStep]


class Unfit(SwitchboardError):
    """The checklist cannot be run like this."""


class Failed(Exception):
    """A step did not find what it should; the text says what it found."""


@dataclass
class Target:
    """The engine to go through."""

    dsn: str
    url: str
    token: str
    patience: float
    """Seconds for the message's trip."""
    message_id: int = 0
    trip: Trip | None = None
    trip_task: asyncio.Task[Trip] | None = field(default=None, repr=False)


def run_regression(
    settings: Settings,
    database: Database,
    *,
    stand_in: bool = False,
    on_step: Callable[[RegressionStep], None] = lambda _: None,
) -> Regression:
    """Run the checklist; a failed step leaves out those after it.

    Raises Unfit when a stand-in was asked for, or is all there is, on a database with real conversations,
    and SwitchboardError when no engine can be started.
    """
    with ExitStack() as stack:
        running = None if stand_in else _running(database)
        if running is not None:
            engine, url = f"the running engine {running[0]}", f"http://{running[1]}"
            far_end = "as that engine is configured"
        else:
            own, far_end = stack.enter_context(_own_engine(settings, database, stand_in))
            engine, url = "an engine of its own", f"http://{own.snapshot().http_address}"
        patience = settings.turn_deadline_seconds + settings.quiet_window_max_seconds + SLACK_SECONDS
        target = Target(database.dsn, url, admin_token(settings), patience)
        steps = asyncio.run(_checklist(target, on_step))
    return Regression(ok=all(step.ok for step in steps), engine=engine, far_end=far_end, steps=steps)


# The engine


def _running(database: Database) -> tuple[str, str] | None:
    """Name and HTTP address of a live engine of this machine."""
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        try:
            row = connection.execute(
                "SELECT name, http_address FROM et_engines WHERE stopped_at IS NULL AND host = %s"
                " AND http_address IS NOT NULL"
                " AND heartbeat_at > clock_timestamp() - make_interval(secs => %s) ORDER BY heartbeat_at DESC",
                [socket.gethostname(), ALIVE_SECONDS],
            ).fetchone()
        except psycopg.ProgrammingError:  # not migrated yet
            return None
    return (row[0], row[1]) if row else None


@contextmanager
def _own_engine(settings: Settings, database: Database, stand_in: bool) -> Iterator[tuple[Engine, str]]:
    settings = settings.model_copy(update={"http_enabled": True, "http_port": 0, "http_host": "127.0.0.1"})
    has_key = settings.uniapi_api_key is not None or settings.zai_api_key is not None
    with ExitStack() as stack:
        if stand_in or not has_key:
            _refuse_real_conversations(settings, database)
            far = stack.enter_context(FarEnd())
            settings = settings.model_copy(
                update={
                    "uniapi_base_url": far.uniapi_url,
                    "uniapi_api_key": SecretStr(token_hex(16)),
                    "zai_base_url": far.zai_url,
                    "zai_api_key": SecretStr(token_hex(16)),
                }
            )
            why = "as asked" if stand_in else "no API key is set"
            told = f"a stand-in on this machine, no language model ({why})"
            channels = ChannelRegistry([SimulatorChannel()])
            engine = Engine(settings, database, simulated=True, channels=channels)
        else:
            told = "the configured providers"
            engine = Engine(settings, database)
        engine.start()
        stack.callback(engine.stop)
        if not engine.wait_ready(START_SECONDS):
            raise SwitchboardError(f"The engine did not start within {START_SECONDS:.0f} s.", "See its log.")
        yield engine, told


def _refuse_real_conversations(settings: Settings, database: Database) -> None:
    configured = {channel.name for channel in build_channels(settings)}
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        try:
            rows = connection.execute("SELECT DISTINCT channel FROM et_threads").fetchall()
        except psycopg.ProgrammingError:  # not migrated yet
            rows = []
    real = (configured | {row[0] for row in rows}) - {SimulatorChannel.name}
    if real:
        raise Unfit(
            f"A stand-in must not answer real conversations ({one_line(', '.join(sorted(real)))}).",
            "Set UNIAPI_API_KEY and leave --stand-in out, or use another database (DATABASE_URL).",
        )


# The checklist


async def _checklist(target: Target, on_step: Callable[[RegressionStep], None]) -> list[RegressionStep]:
    checks: tuple[Callable[[Target, httpx.AsyncClient], Awaitable[str]], ...] = (
        _ready,
        _system_health,
        _inbound_message,
        _inbound_status,
        _outbound_row,
        _dispatch,
    )
    steps: list[RegressionStep] = []
    async with httpx.AsyncClient(base_url=target.url, timeout=10, trust_env=False) as client:
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
    return "ready=true, blockers=[]"


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
    target.message_id = await inject(target.dsn, TEXT, sender=sender)
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
