"""A provider with its circuit and its figures: calls it, probes it, and says in words how it is."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import Literal

from engine.llm.failures import ProviderFailure
from engine.llm.health import ANSWERED, Circuit, Clock, Figures
from engine.llm.providers.answer import Completion
from engine.llm.providers.base import ChatRequest, Provider
from engine.model import Blocker, ComponentHealth, FailureClass

PROBE_SECONDS = 10.0
#: A provider that answered this recently is not probed.
FRESH = timedelta(seconds=30)

State = Literal["up", "degraded", "down", "unconfigured", "unknown"]

_WHAT = {
    FailureClass.AUTH: "refuses the API key",
    FailureClass.MONEY: "says that the account is out of money",
    FailureClass.QUOTA: "says that the quota is used up",
    FailureClass.RATE: "is rate-limiting",
    FailureClass.TRANSIENT: "does not answer properly",
}


class Line:
    """One provider as the router sees it."""

    def __init__(self, provider: Provider, clock: Clock, rng: random.Random) -> None:
        self.provider = provider
        self.circuit = Circuit(clock, rng)
        self.figures = Figures()
        self._clock = clock

    def obstacle(self) -> ProviderFailure | None:
        """Why it would not be called now, as the failure that an attempt records."""
        if self.provider.problem is not None:
            return ProviderFailure(FailureClass.AUTH, f"not called: {self.provider.problem}")
        if self.circuit.admits():
            return None
        cause = self.circuit.cause
        assert cause is not None, "a closed circuit admits"
        return ProviderFailure(
            cause, f"not called: {self.provider.name} {_WHAT[cause]} ({self.figures.last_error})"
        )

    async def call(self, request: ChatRequest, *, timeout: float, fair: bool) -> Completion:
        """The reply, within `timeout` seconds. Raises ProviderFailure.

        Only when there is no obstacle. Without a `fair` amount of time, running out of it is not held
        against the provider.
        """
        ticket = self.circuit.admit()
        assert ticket is not None, "no obstacle means that the circuit admits"
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.figures.calls += 1
        self.figures.in_flight += 1
        try:
            completion = await self.provider.complete(request, timeout=timeout)
        except ProviderFailure as failure:
            if failure.timed_out and not fair:
                self.circuit.abandoned(ticket)
            else:
                self.circuit.failed(ticket, failure)
            self.figures.failed(failure, self._clock.now())
            raise
        except BaseException:
            self.circuit.abandoned(ticket)
            raise
        finally:
            self.figures.in_flight -= 1
        self.circuit.succeeded(ticket)
        self.figures.answered(round((loop.time() - began) * 1000), self._clock.now())
        return completion

    async def probe(self, model: str) -> None:
        """Asks whether calls would work, unless that is known; closes or opens the circuit by the answer."""
        down = self.circuit.state != "closed"
        waits = self.circuit.cause in (FailureClass.RATE, FailureClass.QUOTA) and not self.circuit.admits()
        if self.provider.problem is not None or waits or (not down and self._is_fresh()):
            return
        try:
            asked = await self.provider.probe(model, timeout=PROBE_SECONDS, down=down)
        except ProviderFailure as failure:
            if failure.failure not in ANSWERED:
                self.circuit.probe_failed(failure)
                self.figures.failed(failure, self._clock.now())
                return
            asked = True
        if asked:
            self.circuit.close()
            self.figures.heard(self._clock.now())

    def _is_fresh(self) -> bool:
        heard = self.figures.last_ok_at
        return heard is not None and self.figures.failures_in_row == 0 and self._clock.now() - heard < FRESH

    @property
    def can_answer(self) -> bool:
        """Whether turns may count on it; a rate limit passes within seconds."""
        return self.provider.problem is None and (
            self.circuit.state == "closed" or self.circuit.cause is FailureClass.RATE
        )

    def component(self, *, simulated: bool, blocker: Blocker | None) -> ComponentHealth:
        """Its health, with figures in calls and milliseconds."""
        state, detail = self._state()
        until = self.circuit.cooldown_until
        return ComponentHealth(
            name=self.provider.name,
            kind="llm",
            state=state,
            detail=detail,
            checked_at=self.figures.checked_at,
            blocker=blocker,
            simulated=simulated,
            figures={
                **self.figures.as_dict(),
                "circuit": self.circuit.state,
                "cooldown_until": until.isoformat() if until else None,
            },
        )

    def _state(self) -> tuple[State, str]:
        figures, cause = self.figures, self.circuit.cause
        if self.provider.problem is not None:
            return "unconfigured", self.provider.problem
        if self.circuit.state != "closed" and cause is not None:
            state: State = "degraded" if cause is FailureClass.RATE else "down"
            return state, f"{_WHAT[cause]}: {figures.last_error}"
        if figures.checked_at is None:
            return "unknown", "not called yet"
        if figures.failures_in_row:
            return "degraded", f"{figures.failures_in_row} failures in a row: {figures.last_error}"
        return "up", ""

    def blocker(self) -> Blocker | None:
        """What keeps it from answering, and how to clear that; None when it can answer."""
        name, setting, cause = self.provider.name, self.provider.key_setting, self.circuit.cause
        if self.provider.problem is not None:
            remedy = f"Set {setting} to a valid API key and restart, or route to another provider."
            return Blocker(code="llm.unconfigured", what=self.provider.problem, where=name, remedy=remedy)
        if self.can_answer or cause is None:
            return None
        code, remedy = {
            FailureClass.AUTH: ("llm.auth", f"Set {setting} to a valid API key and restart."),
            FailureClass.MONEY: ("llm.money", self.provider.money_remedy),
            FailureClass.QUOTA: ("llm.quota", "Wait for the quota's reset, or route to another provider."),
        }.get(
            cause,
            ("llm.down", f"Check the network, {setting.replace('API_KEY', 'BASE_URL')} and the provider."),
        )
        what = f"{name} {_WHAT[cause]}: {self.figures.last_error}"
        return Blocker(code=code, what=what, where=name, remedy=remedy)
