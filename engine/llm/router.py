"""Asks the providers of a task in order until one gives a reply, inside one deadline.

    for each route ── circuit open, no key, no time? ──▶ recorded as skipped, next
         │ call, at most its share of the time left
         ├─ reply ──▶ done
         ├─ content ──▶ stop: a person decides
         ├─ prompt too long, starved, one transient blip ──▶ the same route once more, changed as needed
         └─ anything else ──▶ next route
    all of them rate-limited, and the cooldown ends before the deadline ──▶ once round again

Every call and every skip is recorded as an attempt.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import NamedTuple

from engine.llm import pricing
from engine.llm.failures import ProviderFailure
from engine.llm.health import ANSWERED, Circuit, Clock, Figures
from engine.llm.providers.answer import Completion
from engine.llm.providers.base import ChatRequest, Provider
from engine.llm.providers.uniapi import UniAPI
from engine.llm.providers.zai import ZAI
from engine.llm.report import LLMBlocker, blockers, component
from engine.llm.routing import DEFAULT_ROUTING, Route, RoutingConfig, parse_routing
from engine.model import ComponentHealth, FailureClass, LLMAttempt, LLMMessage, LLMResult, Usage
from engine.settings import Settings

Trim = Callable[[], Sequence[LLMMessage] | None]

FALLBACK_RESERVE = 0.4
"""Share of the time left that a route leaves to those behind it."""
LEAST_SECONDS = 0.25
"""With less time than this a call is not begun."""
FAIR_SECONDS = 5.0
"""A call that timed out with less than this says nothing about the provider."""
RETRY_PAUSE = (0.05, 0.25)
"""Seconds before the quick retry of a transient failure: least and most."""
STARVED_FACTOR, STARVED_LEAST, STARVED_MOST = 4, 4096, 32_768
"""A starved request is asked again with this many times its `max_tokens`, within these bounds."""
PROBE_SECONDS = 10.0
#: Of several failures, the one that gives most hope stands for the turn: it may pass with time.
MOST_HOPEFUL = (
    FailureClass.CONTENT,
    FailureClass.RATE,
    FailureClass.TRANSIENT,
    FailureClass.QUOTA,
    FailureClass.STARVED,
    FailureClass.EMPTY,
    FailureClass.MONEY,
    FailureClass.AUTH,
    FailureClass.REQUEST,
)


class Line(NamedTuple):
    """A provider and what is known about it."""

    provider: Provider
    circuit: Circuit
    figures: Figures

    @property
    def usable(self) -> bool:
        return self.provider.problem is None and self.circuit.admits()


@dataclass
class _Turn:
    """One task under way."""

    messages: Sequence[LLMMessage]
    deadline: float
    routing: RoutingConfig
    trim: Trim | None
    attempts: list[LLMAttempt] = field(default_factory=list)
    won: tuple[Route, Completion] | None = None

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - asyncio.get_running_loop().time()


class Router:
    """Answers tasks through the providers. One event loop owns it, and all its methods run there."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        *,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        simulated: bool = False,
    ) -> None:
        self._clock = clock or Clock()
        self._rng = rng or random.Random()
        self._lines = {
            name: Line(provider, Circuit(self._clock, self._rng), Figures())
            for name, provider in providers.items()
        }
        self._simulated = simulated
        self._warming: asyncio.Task[None] | None = None
        self.routing = DEFAULT_ROUTING
        """In force; `configure` replaces it."""

    def parse(self, raw: object) -> RoutingConfig:
        """The routing `raw` asks for, without using it. Raises RoutingError."""
        return parse_routing(raw, self._lines.keys())

    def configure(self, raw: object) -> RoutingConfig:
        """Puts the routing `raw` in force; None restores the default. Raises RoutingError and keeps the last."""
        self.routing = self.parse(raw)
        return self.routing

    async def complete(
        self,
        task: str,
        messages: Sequence[LLMMessage],
        *,
        deadline: float,
        routing: RoutingConfig | None = None,
        trim: Trim | None = None,
    ) -> LLMResult:
        """A reply to `messages` by `deadline` (of the running loop's `time()`), or why there is none.

        Trouble at the far end is in the result, never raised. `trim` gives a shorter history when the
        prompt is too long for a model, or None when it cannot; it is asked once at most.
        """
        turn = _Turn(messages, deadline, routing or self.routing, trim)
        routes = turn.routing.routes(task)
        warming = self._warm()
        while not await self._go_round(turn, routes):
            pause = self._pause_worth_taking(turn, routes)
            if pause is None:
                break
            await asyncio.sleep(pause)
        await asyncio.shield(warming)
        return self._result(turn)

    async def _go_round(self, turn: _Turn, routes: Sequence[Route]) -> bool:
        """Tries each route; True when the turn is over."""
        for position, route in enumerate(routes):
            fallback = any(self._usable(later) for later in routes[position + 1 :])
            share = turn.left * (1 - FALLBACK_RESERVE if fallback else 1)
            if await self._try_route(turn, route, turn.deadline - turn.left + share, fallback):
                return True
        return False

    async def _try_route(self, turn: _Turn, route: Route, until: float, fallback: bool) -> bool:
        """Calls one route, and once more for each reason that a second call may cure; True ends the turn."""
        request = ChatRequest(route.model, turn.messages, route.max_tokens, route.temperature, route.params)
        cured: set[str] = set()
        while (failure := await self._attempt(turn, route, request, until)) is not None:
            if turn.attempts[-1].skipped:
                return False
            if failure.failure is FailureClass.CONTENT:
                return True
            better = await self._second_chance(turn, request, failure, cured, until, fallback)
            if better is None:
                return False
            request = better
        return True

    async def _second_chance(
        self,
        turn: _Turn,
        request: ChatRequest,
        failure: ProviderFailure,
        cured: set[str],
        until: float,
        fallback: bool,
    ) -> ChatRequest | None:
        """The request to send to the same route instead, or None; each cure is tried once a route."""
        cure = _cure(failure)
        if cure is None or cure in cured:
            return None
        cured.add(cure)
        if cure == "trim":
            trim, turn.trim = turn.trim, None
            shorter = trim() if trim else None
            if not shorter:
                return None
            turn.messages = shorter
            return replace(request, messages=shorter)
        if cure == "feed":
            return replace(request, max_tokens=_more_tokens(request.max_tokens))
        if cure == "retry":
            if failure.timed_out and fallback:
                return None  # the time is better spent on the next route
            pause = self._rng.uniform(*RETRY_PAUSE)
            if until - asyncio.get_running_loop().time() - pause < LEAST_SECONDS:
                return None
            await asyncio.sleep(pause)
        return request

    async def _attempt(
        self, turn: _Turn, route: Route, request: ChatRequest, until: float
    ) -> ProviderFailure | None:
        """Calls once and records it; None when the turn is won."""
        line = self._lines.get(route.provider)
        seconds = min(route.timeout_seconds, until - asyncio.get_running_loop().time())
        obstacle = self._obstacle(line, seconds)
        if line is None or obstacle is not None:
            failure = obstacle or ProviderFailure(FailureClass.REQUEST, f"no provider {route.provider!r}")
            self._record(turn, route, failure=failure, skipped=True)
            return failure
        ticket = line.circuit.admit()
        assert ticket is not None, "no obstacle means that the circuit admits"
        line.figures.calls += 1
        line.figures.in_flight += 1
        started, began = self._clock.now(), self._clock.monotonic()
        try:
            completion = await line.provider.complete(request, timeout=seconds)
        except ProviderFailure as failure:
            if failure.timed_out and seconds < min(route.timeout_seconds, FAIR_SECONDS):
                line.circuit.abandoned(ticket)
            else:
                line.circuit.failed(ticket, failure)
            line.figures.failed(failure, self._clock.now())
            ...
            return failure
        except BaseException:
            line.circuit.abandoned(ticket)
            raise
        finally:
            line.figures.in_flight -= 1
