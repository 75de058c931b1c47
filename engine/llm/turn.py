"""One task on its way through the router: its deadline, its attempts, and what comes out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from engine.llm import pricing
from engine.llm.failures import ProviderFailure
from engine.llm.providers.answer import Completion
from engine.llm.routing import Route, RoutingConfig
from engine.model import FailureClass, LLMAttempt, LLMMessage, LLMResult, Usage
from engine.text import one_line

Trim = Callable[[], Sequence[LLMMessage] | None]
"""A shorter history, or None when it cannot be made shorter."""

ERROR_LIMIT = 600
#: Of several failures, the one that gives most hope stands for the turn: it may pass by itself.
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


@dataclass
class Turn:
    """One task under way. `deadline` is a time of the running loop."""

    messages: Sequence[LLMMessage]
    deadline: float
    routing: RoutingConfig
    trim: Trim | None = None
    attempts: list[LLMAttempt] = field(default_factory=list)
    reply: Completion | None = None
    given_up: set[int] = field(default_factory=set)
    """Places of the routes whose far end did its work and gave no reply: asking again brings the same."""

    def open_routes(self, routes: Sequence[Route]) -> list[tuple[int, Route]]:
        """The routes that are not given up, each with its place."""
        return [(place, route) for place, route in enumerate(routes) if place not in self.given_up]

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - self.now

    def shorten(self) -> Sequence[LLMMessage] | None:
        """A shorter history from the caller, who is asked once a turn; None when there is none."""
        trim, self.trim = self.trim, None
        shorter = trim() if trim else None
        if shorter:
            self.messages = shorter
        return shorter or None

    def won(self, route: Route, started_at: datetime, seconds: float, reply: Completion) -> None:
        """Records the call that gave the reply."""
        self.reply = reply
        self.attempts.append(
            LLMAttempt(
                provider=route.provider,
                model=route.model,
                started_at=started_at,
                latency_ms=round(seconds * 1000),
                ok=True,
                http_status=200,
                finish_reason=reply.finish_reason,
                request_id=reply.request_id,
                usage=reply.usage,
            )
        )

    def lost(
        self, route: Route, started_at: datetime, seconds: float, failure: ProviderFailure, *, skipped: bool
    ) -> None:
        """Records a call that gave none, or that was not made."""
        self.attempts.append(
            LLMAttempt(
                provider=route.provider,
                model=route.model,
                started_at=started_at,
                latency_ms=round(seconds * 1000),
                ok=False,
                failure=failure.failure,
                http_status=failure.http_status,
                error=failure.message,
                finish_reason=failure.finish_reason,
                request_id=failure.request_id,
                usage=failure.usage,
                skipped=skipped,
            )
        )

    def result(self) -> LLMResult:
        """What the caller gets. The price table must be loaded.

        `cost_usd` is the cost of all attempts, those that gave no reply too; None when one that used
        tokens has no known price, or when no usage is known at all.
        """
        costs = [self._freeze_cost(attempt) for attempt in self.attempts if attempt.usage is not None]
        known = [cost for cost in costs if cost is not None]
        cost = sum(known, Decimal(0)) if costs and len(known) == len(costs) else None
        paid = next((attempt for attempt in reversed(self.attempts) if _counted(attempt)), None)
        last = self.attempts[-1] if self.reply else paid
        return LLMResult(
            text=self.reply.text if self.reply else None,
            provider=last.provider if last else None,
            model=last.model if last else None,
            usage=last.usage if last else None,
            cost_usd=cost,
            failure=None if self.reply else self._failure(),
            error=None if self.reply else self._error(),
            attempts=self.attempts,
        )

    def _freeze_cost(self, attempt: LLMAttempt) -> Decimal | None:
        """Writes the attempt's cost into its usage."""
        usage: Usage | None = attempt.usage
        assert usage is not None
        cost = pricing.price(
            attempt.provider,
            attempt.model,
            usage,
            multiplier=self.routing.price_multiplier.get(attempt.provider, Decimal(1)),
            overrides=self.routing.price_overrides,
        )
        usage.estimated_cost_usd = None if cost is None else float(cost)
        return cost

    def _failure(self) -> FailureClass:
        classes = {attempt.failure for attempt in self.attempts if not attempt.skipped}
        classes = classes or {attempt.failure for attempt in self.attempts}
        return next((kind for kind in MOST_HOPEFUL if kind in classes), FailureClass.TRANSIENT)

    def _error(self) -> str:
        """The last word of each route."""
        words = {(a.provider, a.model): a.error for a in self.attempts}
        return one_line("; ".join(f"{p} {m}: {error}" for (p, m), error in words.items()), ERROR_LIMIT)


def _counted(attempt: LLMAttempt) -> bool:
    """Whether the far end said what the call used, which has to be paid for."""
    usage = attempt.usage
    return usage is not None and (usage.prompt_tokens is not None or usage.total_tokens is not None)
