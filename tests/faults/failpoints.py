"""Places in a message's trip where a process can be made to die (or freeze) at once."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from psycopg.pq import TransactionStatus

from engine.channels.simulator import SimulatorChannel
from engine.inbound import claims
from engine.llm.router import Router
from engine.outbound import queue

EXIT_CODE = 137

#: Where each step is done: its owner and the function's name.
STEPS: dict[str, tuple[Any, str]] = {
    "T1 claim": (claims, "claim_turns"),
    "LLM call": (Router, "complete"),
    "T1 extend": (claims, "extend_turn"),
    "T2 complete": (claims, "complete_turns"),
    "T3 claim send": (queue, "claim_sends"),
    "T4 mark": (queue, "start_sends"),
    "HTTP send": (SimulatorChannel, "send"),
    "T5 record": (queue, "record_sends"),
}
#: Claims also run in vain; they fail only when this finds something for them to do.
_WORK = {
    "T1 claim": b"SELECT FROM et_threads WHERE due_at <= now() AND holder IS NULL LIMIT 1",
    "T3 claim send": b"SELECT FROM et_outbound_queue WHERE status = 'queued' LIMIT 1",
}
FAILPOINTS = tuple(
    f"{when} {step}"
    for step in STEPS
    for when in ("before", "during", "after")
    if not (when == "during" and step in {"LLM call", "HTTP send"})
)
FREEZE = "freeze "
"""Before a failpoint's name: freeze there once instead of dying."""


def die() -> None:
    """As kill -9 would, and at a known place."""
    os._exit(EXIT_CODE)


def freeze() -> None:
    """Stop until somebody sends SIGCONT."""
    os.kill(os.getpid(), signal.SIGSTOP)


def arm(failpoint: str) -> None:
    """This process fails at that point, the first time there is work to do. Call before an engine is built.

    `before` and `after` a step; `during`: its statement is running, and nobody waits for the answer.
    """
    if failpoint.endswith(("T3 claim send", "T4 mark")):
        _claim_fresh_replies_too()
    act = freeze if failpoint.startswith(FREEZE) else die
    when, _, step = failpoint.removeprefix(FREEZE).partition(" ")
    owner, name = STEPS[step]
    setattr(owner, name, _wrapped(getattr(owner, name), when, act, _WORK.get(step)))


def _claim_fresh_replies_too() -> None:
    """Replies are not handed to the dispatcher of the engine that wrote them."""
    complete = claims.complete_turns

    async def without_outbox(connection: Any, engine: str, completions: Any, outbox: Any = None) -> Any:
        return await complete(connection, engine, completions)

    claims.complete_turns = without_outbox


def _wrapped(
    function: Callable[..., Coroutine[Any, Any, Any]], when: str, act: Callable[[], None], work: bytes | None
) -> Callable[..., Coroutine[Any, Any, Any]]:
    failed = False

    async def failing(*args: Any, **kwargs: Any) -> Any:
        nonlocal failed
        if failed:
            return await function(*args, **kwargs)
        if work and not (await args[0].execute(work)).rowcount:
            return []  # not asked at all: work that comes after the look must not slip past the failpoint
        failed = True
        match when:
            case "before":
                act()
            case "during":
                return await _halfway(function(*args, **kwargs), args[0], act)
        result = await function(*args, **kwargs)
        if when == "after":
            act()
        return result

    return failing


async def _halfway(running: Coroutine[Any, Any, Any], connection: Any, act: Callable[[], None]) -> Any:
    """Fail while the server works on the statement: whether it committed, nobody has heard."""
    task = asyncio.ensure_future(running)
    for _ in range(1000):
        if task.done() or connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
            break
        await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    act()
    return await task
