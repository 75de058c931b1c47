"""Places in a message's trip where a process can be made to die (or freeze) at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from typing import Any

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
#: The steps that are claims: they also run, in vain, when there is nothing to do.
_CLAIMS = frozenset({"T1 claim", "T3 claim send"})
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

    `before` and `after` a step; `during`: its statement is on its way, and nobody waits for the answer.
    """
    act = freeze if failpoint.startswith(FREEZE) else die
    when, _, step = failpoint.removeprefix(FREEZE).partition(" ")
    owner, name = STEPS[step]
    wrapped = _wrapped(getattr(owner, name), when, act, only_with_work=step in _CLAIMS)
    setattr(owner, name, wrapped)


def _wrapped(
    function: Callable[..., Awaitable[Any]], when: str, act: Callable[[], None], *, only_with_work: bool
) -> Callable[..., Awaitable[Any]]:
    done = False

    def fail() -> None:
        nonlocal done
        if not done:
            done = True
            act()

    async def failing(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            fail()
        elif when == "during":
            _exit_once_sent(args[0], act)
        result = await function(*args, **kwargs)
        if when == "after" and (result or not only_with_work):
            fail()
        return result

    return failing


def _exit_once_sent(connection: Any, act: Callable[[], None]) -> None:
    """Fail as soon as the connection has handed its statement to the kernel."""
    wait = connection.wait

    async def gone(generator: Any, *args: Any, **kwargs: Any) -> Any:
        def watched() -> Any:
            sent = None
            while True:
                try:
                    ready = generator.send(sent)
                except StopIteration as end:
                    return end.value
                if not connection.pgconn.flush() and sent is not None:
                    act()
                sent = yield ready

        return await wait(watched(), *args, **kwargs)

    connection.wait = gone
