"""Runs a stored message through today's agent and route once more, without claiming it and without a reply.

The engine's turns and these share context, policy and router; here a message may be of any age, since nothing
is sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from engine.database.connection import Pool, fetch
from engine.database.directory import Directory, load_directory
from engine.operator.agent_versions import KEEP, Keep
from engine.operator.audit import NotFound, Refused, one, rows
from engine.settings import Settings

if TYPE_CHECKING:
    from engine.inbound.claims import Claim
    from engine.llm.router import Router


@dataclass(frozen=True)
class Rehearsed:
    """How a turn would have ended."""

    message_id: int
    """The message that carries the turn: of a burst the oldest."""
    tenant_id: int
    thread_id: int
    outcome: str
    reason: str | None = None
    error: str | None = None
    text: str | None = None
    agent_id: int | None = None
    agent_version: int | None = None
    burst: int = 1
    simulated: bool = False
    record: dict[str, Any] = field(default_factory=dict)
    """The further columns of `et_turns`: provider, model, attempts, verdicts, context, tokens, cost, times."""


class OutOfMoney(Refused):
    """Today's budget is spent."""


class Runner(Protocol):
    """Whatever can rehearse a turn."""

    async def run(self, message_id: int) -> Rehearsed:
        """Rehearse the turn of an inbound message. Raises NotFound, Refused."""


@dataclass(frozen=True)
class Variant:
    """What to try in place of what is in force."""

    agent_id: int | None = None
    """The agent that answers; None is the one that answers such messages today."""
    version: int | None = None
    """A version of the agent; None is the active one."""
    prompt: str | None = None
    routing: Any | Keep = KEEP
    """A routing, checked already; None is the platform's."""

    @property
    def differs(self) -> list[str]:
        """Names of what is replaced."""
        given = {
            "agent": self.agent_id is not None,
            "version": self.version is not None,
            "prompt": self.prompt is not None,
        }
        return [name for name, differs in {**given, "routing": self.routing is not KEEP}.items() if differs]


class Rehearsal:
    """Rehearses turns with a router of its own."""

    def __init__(
        self,
        pool: Pool,
        router: Router,
        directory: Directory,
        settings: Settings,
        *,
        variant: Variant | None = None,
        simulated: bool = False,
        for_person: bool = False,
    ) -> None:
        from engine.inbound.resolver import Resolver
        from engine.runtime.agent_runtime import ConversationAgentRuntime

        self._pool = pool
        self._directory = directory
        self._cap_of_engine = settings.daily_budget_usd
        self._variant = variant or Variant()
        self._simulated = simulated
        self._for_person = for_person
        self._runtime = ConversationAgentRuntime(
            router,
            deadline_seconds=settings.turn_deadline_seconds,
            history_tokens=settings.history_tokens,
            replies_per_hour=settings.thread_replies_per_hour,
        )
        self._resolver = Resolver(
            pool,
            lambda: directory,
            window_hours=lambda _: None,
            engine_cap_usd=settings.daily_budget_usd,
            turn_ceiling_usd=settings.turn_ceiling_usd,
        )

    async def run(self, message_id: int) -> Rehearsed:
        """Rehearse the turn of an inbound message.

        Raises NotFound, and OutOfMoney when the tenant's money for today is spent.
        """
        from engine.runtime.agent_runtime import record

        claim = await self._load(message_id)
        await check_budget(self._pool, self._directory, self._cap_of_engine, claim.tenant_id)
        agent = await self._agent(claim)
        request = self._resolver.request(claim, agent, reserve=False)
        request = replace(request, for_person=self._for_person)
        result = await self._runtime.run_turn(request)
        recorded = record(result)
        recorded["attempts"] = [attempt.model_dump(mode="json") for attempt in recorded["attempts"]]
        if self._variant.differs:
            recorded["context"] = {**recorded["context"], "variant": self._variant.differs}
        return Rehearsed(
            message_id=claim.head_id,
            tenant_id=claim.tenant_id,
            thread_id=claim.thread_id,
            outcome=result.outcome,
            reason=result.reason,
            error=result.error,
            text=result.text,
            agent_id=agent.id if agent else None,
            agent_version=agent.version if agent else None,
            burst=len(claim.messages),
            simulated=self._simulated or claim.channel == "simulator",
            record=recorded,
        )

    async def _load(self, message_id: int) -> Claim:
        """The message and the rest of its burst, as a claim would hold them."""
        from engine.inbound.claims import HISTORY_ROWS, claim_of
        from engine.runtime.agent_runtime import NewMessage

        async with self._pool.connection() as connection:
            message = await one(
                connection,
                f"Inbound message {message_id}",
                "SELECT coalesce(turn_head_id, id) AS head FROM et_messages WHERE id = %s AND direction = 'inbound'",
                message_id,
            )
            loaded = await fetch(connection, "load_turn", message["head"], HISTORY_ROWS)
            if not loaded:
                raise NotFound(
                    f"Message {message_id} has no thread.", "It gets one when an engine adopts it."
                )
            claim = claim_of(loaded[0])
            burst = await rows(
                connection,
                """SELECT id, left(text_content, 20000) AS text, raw_payload->>'kind' AS kind,
                          created_at::timestamptz AS created_at
                     FROM et_messages
                    WHERE thread_id = %s AND direction = 'inbound' AND %s IN (id, turn_head_id) ORDER BY id""",
                claim.thread_id,
                claim.head_id,
            )
        # What came after the message counts as little as what was said after it.
        newest = max(row["created_at"] for row in burst)
        ended, out = claim.human_until, loaded[0]["opted_out_at"]
        return replace(
            claim,
            messages=tuple(NewMessage(**row) for row in burst),
            human_until=ended if ended is not None and ended <= newest else None,
            opted_out=out is not None and out <= newest,
        )

    async def _agent(self, claim: Claim) -> Any:
        if self._variant.agent_id is None:
            agent = self._resolver.agent_of(claim)
        else:
            agent = self._directory.agents.get(self._variant.agent_id)
        return None if agent is None else await self._vary(agent)

    async def _vary(self, agent: Any) -> Any:
        variant = self._variant
        if variant.version is not None:
            async with self._pool.connection() as connection:
                version = await one(
                    connection,
                    f"Version {variant.version} of agent {agent.id}",
                    """SELECT version, prompt, policy, routing FROM et_agent_versions
                        WHERE agent_id = %s AND version = %s""",
                    agent.id,
                    variant.version,
                )
            agent = replace(agent, **version)
        if variant.prompt is not None:
            agent = replace(agent, prompt=variant.prompt)
        return agent if variant.routing is KEEP else replace(agent, routing=variant.routing)


async def check_budget(pool: Pool, directory: Directory, cap_of_engine: float | None, tenant_id: int) -> None:
    """Raises OutOfMoney when what the tenant may spend today is spent."""
    cap = directory.daily_cap(tenant_id, cap_of_engine)
    if cap is None:
        return
    async with pool.connection() as connection:
        spent: Decimal = (
            await rows(
                connection,
                """SELECT coalesce(sum(cost_usd), 0) AS usd FROM et_usage_hourly
                    WHERE tenant_id = %s AND hour >= date_trunc('day', now())""",
                tenant_id,
            )
        )[0]["usd"]
    if spent >= cap:
        raise OutOfMoney(
            f"Today's budget of {cap} USD is used up ({spent:.4f} USD spent).",
            "Raise the budget, or try tomorrow.",
        )


@asynccontextmanager
async def rehearsal(
    pool: Pool,
    settings: Settings,
    *,
    variant: Variant | None = None,
    simulated: bool = False,
    for_person: bool = False,
) -> AsyncIterator[Rehearsal]:
    """A runner on the providers of `settings` and what the database says now.

    `for_person`: a person asked for the texts and decides about them, so that no rule calls one.

    Raises RoutingError when the routing in force cannot be used.
    """
    from engine.llm.router import build_router

    router = build_router(settings, simulated=simulated)
    try:
        async with pool.connection() as connection:
            directory = await load_directory(connection)
        router.configure(directory.settings.llm_routing_config)
        yield Rehearsal(
            pool, router, directory, settings, variant=variant, simulated=simulated, for_person=for_person
        )
    finally:
        await router.aclose()
