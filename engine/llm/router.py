"""Asks the providers of a task in order until one gives a reply, inside one deadline.

    for each route ── no key, circuit open, no time left? ──▶ recorded as skipped, next route
         │ a call, with its share of the time left
         ├─ reply ──▶ done
         ├─ content ──▶ over: a person decides
         ├─ prompt too long, starved, one transient blip ──▶ the same route once more, changed as needed
         └─ anything else ──▶ next route
    rate-limited, and the cooldown ends before the deadline ──▶ wait, and round again, but not to a route
    that did its work and gave no reply: the same request would be paid for twice

Every call and every skip is recorded as an attempt.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from engine.llm import pricing
from engine.llm.failures import ProviderFailure
from engine.llm.health import ANSWERED, Clock
from engine.llm.line import Line
from engine.llm.providers.base import ChatRequest, Provider
from engine.llm.providers.uniapi import UniAPI
from engine.llm.providers.zai import ZAI
from engine.llm.routing import DEFAULT_ROUTING, Route, RoutingConfig, parse_routing
from engine.llm.turn import Trim, Turn
from engine.model import Blocker, ComponentHealth, FailureClass, LLMMessage, LLMResult
from engine.settings import Settings

FALLBACK_RESERVE = 0.4
"""Share of the time left that a route leaves to those behind it."""
LEAST_SECONDS = 0.25
"""With less time than this no call is begun."""
FAIR_SECONDS = 5.0
"""A call that runs out of less time than this says nothing about the provider."""
WORTH_WAITING_SECONDS = 1.0
"""Time that must be left after a cooldown for it to be worth waiting for."""
RETRY_PAUSE = (0.05, 0.25)
"""Seconds before the quick retry of a transient failure: least and most."""
STARVED_FACTOR, STARVED_LEAST, STARVED_MOST = 4, 4096, 32_768
"""A starved request is sent again with this many times its `max_tokens`, within these bounds."""


class LLMBlocker(NamedTuple):
    """A blocker, and whether it leaves nobody to answer (else a fallback still does)."""

    blocker: Blocker
    fatal: bool


class Router:
    """Answers tasks through the providers. One event loop owns it; its methods run there."""

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
        self._lines = {name: Line(provider, self._clock, self._rng) for name, provider in providers.items()}
        self._simulated = simulated
        self._warming: asyncio.Task[None] | None = None
        self.routing = DEFAULT_ROUTING
        """In force; `configure` replaces it."""

    def parse(self, raw: object) -> RoutingConfig:
        """The routing that `raw` asks for, without using it. Raises RoutingError."""
        return parse_routing(raw, self._lines.keys())

    def configure(self, raw: object) -> RoutingConfig:
        """Puts the routing `raw` in force (None: the default). Raises RoutingError and keeps the last one."""
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
        """A reply to `messages` by `deadline` (a time of the running loop), or why there is none.

        Trouble at the far end is in the result, never raised. `trim` gives a shorter history when the
        prompt is too long for a model; it is asked once at most.
        """
        turn = Turn(messages, deadline, routing or self.routing, trim)
        routes = turn.routing.routes(task)
        warm = self._start_warming()
        while not await self._go_round(turn, routes):
            pause = self._pause_worth_taking(turn, routes)
            if pause is None:
                break
            await asyncio.sleep(pause)
        if not warm.done():
            await asyncio.shield(warm)
        return turn.result()

    async def warm(self) -> None:
        """Loads the price table in a thread (about 0.5 s, once), so that the first turn need not."""
        await asyncio.shield(self._start_warming())

    async def probe(self) -> None:
        """Asks each provider whether it works, where that is not known; meant for every 15 seconds or so."""
        lines = [(line, self._model_of(name)) for name, line in self._lines.items()]
        await asyncio.gather(*(line.probe(model) for line, model in lines if model is not None))

    def blockers(self, task: str = "conversation") -> list[LLMBlocker]:
        """What keeps the routes of a task from answering, the first route's first.

        A refused key and an empty account are reported while a fallback still answers; a missing key
        only for the first route, and trouble that passes by itself only when nobody can answer.
        """
        names = dict.fromkeys(route.provider for route in self.routing.routes(task))
        lines = [self._lines[name] for name in names if name in self._lines]
        fatal = not any(line.can_answer for line in lines)
        found: list[LLMBlocker] = []
        for position, line in enumerate(lines):
            blocker = line.blocker()
            if blocker is None:
                continue
            if blocker.code == "llm.unconfigured" and position > 0:
                continue
            if blocker.code in ("llm.quota", "llm.down") and not fatal:
                continue
            found.append(LLMBlocker(blocker, fatal))
        return found

    def health(self) -> list[ComponentHealth]:
        """How each provider is: state, circuit, and figures since start."""
        blockers = {found.blocker.where: found.blocker for found in self.blockers()}
        return [
            line.component(simulated=self._simulated, blocker=blockers.get(name))
            for name, line in self._lines.items()
        ]

    async def aclose(self) -> None:
        """Closes the connections; calls under way break."""
        await asyncio.gather(*(line.provider.aclose() for line in self._lines.values()))

    @property
    def providers(self) -> Sequence[Provider]:
        """All of them, called or not."""
        return [line.provider for line in self._lines.values()]

    def _start_warming(self) -> asyncio.Task[None]:
        if self._warming is None:
            self._warming = asyncio.create_task(asyncio.to_thread(pricing.load))
        return self._warming

    def _model_of(self, provider: str) -> str | None:
        """A model of the provider that the routing uses, to probe with."""
        routes = [*self.routing.default, *(r for rs in self.routing.tasks.values() for r in rs)]
        return next((r.model for r in (*routes, *DEFAULT_ROUTING.default) if r.provider == provider), None)

    async def _go_round(self, turn: Turn, routes: Sequence[Route]) -> bool:
        """Tries each route that may still answer; True when the turn is over."""
        left = turn.open_routes(routes)
        for number, (place, route) in enumerate(left, 1):
            fallback = any(self._is_open_to_calls(later) for _, later in left[number:])
            until = turn.deadline - (turn.left * FALLBACK_RESERVE if fallback else 0.0)
            if await self._try_route(turn, route, until, fallback):
                return True
            last = turn.attempts[-1]
            if last.failure in ANSWERED and not last.skipped:
                turn.given_up.add(place)
        return False

    def _is_open_to_calls(self, route: Route) -> bool:
        line = self._lines.get(route.provider)
        return line is not None and line.obstacle() is None

    async def _try_route(self, turn: Turn, route: Route, until: float, fallback: bool) -> bool:
        """Calls a route, and again once for each reason that a second call may cure. True ends the turn."""
        request = ChatRequest(route.model, turn.messages, route.max_tokens, route.temperature, route.params)
        cured: set[str] = set()
        while (failure := await self._attempt(turn, route, request, until)) is not None:
            if failure.failure is FailureClass.CONTENT and not turn.attempts[-1].skipped:
                return True
            cure = _cure(failure)
            if cure is None or cure in cured or not self._is_open_to_calls(route):
                return False
            cured.add(cure)
            better = await self._cured(cure, request, turn, failure.timed_out and fallback, until)
            if better is None:
                return False
            request = better
        return True

    async def _cured(
        self, cure: str, request: ChatRequest, turn: Turn, time_is_short: bool, until: float
    ) -> ChatRequest | None:
        """The request to send to the same route instead, or None when there is nothing to gain."""
        if cure == "trim":
            shorter = turn.shorten()
            return replace(request, messages=shorter) if shorter else None
        if cure == "feed":
            more = _more_tokens(request.max_tokens)
            return replace(request, max_tokens=more) if more else None
        if cure == "retry":
            pause = self._rng.uniform(*RETRY_PAUSE)
            if time_is_short or until - turn.now - pause < LEAST_SECONDS:
                return None
            await asyncio.sleep(pause)
        return request

    async def _attempt(
        self, turn: Turn, route: Route, request: ChatRequest, until: float
    ) -> ProviderFailure | None:
        """Calls once and records it; None when that gave the reply."""
        started_at, began = self._clock.now(), turn.now
        seconds = min(route.timeout_seconds, until - began)
        line = self._line_for(route, seconds)
        if isinstance(line, ProviderFailure):
            turn.lost(route, started_at, 0.0, line, skipped=True)
            return line
        try:
            fair = seconds >= min(route.timeout_seconds, FAIR_SECONDS)
            reply = await line.call(request, timeout=seconds, fair=fair)
        except ProviderFailure as failure:
            turn.lost(route, started_at, turn.now - began, failure, skipped=False)
            return failure
        turn.won(route, started_at, turn.now - began, reply)
        return None

    def _line_for(self, route: Route, seconds: float) -> Line | ProviderFailure:
        """The line to call, or why it is not to be called."""
        line = self._lines.get(route.provider)
        if line is None:
            return ProviderFailure(FailureClass.REQUEST, f"not called: no provider {route.provider!r}")
        obstacle = line.obstacle()
        if obstacle is None and seconds < LEAST_SECONDS:
            obstacle = ProviderFailure(FailureClass.TRANSIENT, "not called: no time was left", timed_out=True)
        if obstacle is None:
            return line
        line.figures.skipped += 1
        return obstacle

    def _pause_worth_taking(self, turn: Turn, routes: Sequence[Route]) -> float | None:
        """Seconds until a rate limit is over, when the deadline leaves time to call after it."""
        names = {route.provider for _, route in turn.open_routes(routes)}
        lines = [self._lines[name] for name in names if name in self._lines]
        waits = [
            line.circuit.wait_seconds
            for line in lines
            if line.provider.problem is None and line.circuit.cause is FailureClass.RATE
        ]
        if not waits:
            return None
        pause = min(waits) + self._rng.uniform(*RETRY_PAUSE)  # not all turns at the same moment
        return pause if turn.left - pause >= WORTH_WAITING_SECONDS else None


def _cure(failure: ProviderFailure) -> str | None:
    """What may make a second call to the same route work."""
    if failure.adapted:
        return "adapt"
    if failure.prompt_too_long:
        return "trim"
    return {FailureClass.STARVED: "feed", FailureClass.TRANSIENT: "retry"}.get(failure.failure)


def _more_tokens(limit: int | None) -> int | None:
    """A larger `max_tokens` for an answer that reasoning left no room for; None at the upper bound."""
    more = min(max((limit or STARVED_LEAST) * STARVED_FACTOR, STARVED_LEAST), STARVED_MOST)
    return more if limit is None or more > limit else None


def build_router(settings: Settings, *, simulated: bool = False) -> Router:
    """The router with both providers as `settings` say; a provider without a key is there but not called."""
    return Router(
        {
            "uniapi": UniAPI(settings.uniapi_base_url, settings.uniapi_api_key, http2=settings.llm_http2),
            "zai": ZAI(settings.zai_base_url, settings.zai_api_key, http2=settings.llm_http2),
        },
        simulated=simulated,
    )
