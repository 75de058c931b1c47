"""`ConversationAgentRuntime.run_turn`: context, policy, router, policy again, trace. It never writes.

The caller claims the message before and commits the result after; no transaction is open in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from pydantic import ValidationError

from engine.database.directory import Agent
from engine.llm.router import Router
from engine.llm.routing import RoutingError
from engine.logs import get_logger
from engine.model import AITrace, FailureClass, LLMMessage, LLMResult, TurnOutcome, Usage
from engine.runtime import policy
from engine.runtime.context_builder import Context, Said, build_context, canary_of, readable
from engine.runtime.policy import AgentPolicy, Block, Situation, Verdict

log = get_logger(__name__)
TASK = "conversation"
#: Failures after which the same message may be tried again later; the others will not pass by themselves.
WORTH_RETRYING = frozenset(FailureClass) - {FailureClass.CONTENT, FailureClass.REQUEST}


class NewMessage(NamedTuple):
    """An inbound message that a turn answers."""

    id: int
    text: str | None
    kind: str | None
    created_at: datetime
    provider_message_id: str | None = None


@dataclass(frozen=True)
class TurnRequest:
    """All a turn needs to know; nothing of it is read again while the model thinks."""

    now: datetime
    """The database's time at the claim."""
    agent: Agent | None
    customer: str | None
    opted_out: bool
    new: Sequence[NewMessage]
    """Oldest first: a burst is answered once."""
    history: Sequence[Said]
    """Newest first."""
    human_until: datetime | None
    """When the last stretch in which a person answered ended."""
    window_hours: float | None
    last_inbound_at: datetime | None
    """When the customer last wrote, where that may be after `new`: the channel's window is counted from it."""
    max_age_hours: float | None
    """Older messages are left to a person; None: none is too old."""
    record_context_prompt: bool
    reserve: Callable[[], Awaitable[Block | None]]
    """Sets money aside for the call; a block when the cap does not allow it."""
    replies_since: Callable[[datetime, int], Awaitable[int]] | None = None
    """Counts the AI's replies in the thread since a time, up to a number; None where `history` is all there is."""
    for_person: bool = False
    """A person asked for a draft."""


@dataclass
class TurnResult:
    """How a turn ended, and its record."""

    outcome: TurnOutcome
    reason: str | None = None
    error: str | None = None
    agent: Agent | None = None
    """Who answered, in the version it did."""
    text: str | None = None
    trace: AITrace | None = None
    llm: LLMResult | None = None
    verdicts: list[Verdict] = field(default_factory=list)
    context: Context | None = None
    context_prompt: str | None = None
    hand_over: bool = False
    opt_out: bool | None = None
    """The customer asked not to be written to (True), or to be written to again (False)."""
    started_at: datetime | None = None
    context_at: datetime | None = None
    answered_at: datetime | None = None

    @property
    def usage(self) -> Usage:
        """Tokens of the answer, or of the call that was paid last; empty when none was."""
        return (self.llm.usage if self.llm else None) or Usage()

    @property
    def cost_usd(self) -> Decimal | None:
        """USD at list price, None when unknown."""
        return self.llm.cost_usd if self.llm else None


class ConversationAgentRuntime:
    """Runs turns. Safe to share among as many turns as are in flight."""

    def __init__(
        self, router: Router, *, deadline_seconds: float, history_tokens: int, replies_per_hour: int
    ) -> None:
        self.router = router
        self._deadline_seconds = deadline_seconds
        self._history_tokens = history_tokens
        self._replies_per_hour = replies_per_hour
        self._policies: dict[int, tuple[Agent, AgentPolicy]] = {}

    async def run_turn(self, request: TurnRequest) -> TurnResult:
        """Answer the new messages of a thread, or say why not. Raises only for a defect of ours."""
        loop = asyncio.get_running_loop()
        begun = loop.time()

        def now() -> datetime:
            """The database's clock, carried on by ours."""
            return request.now + timedelta(seconds=loop.time() - begun)

        result = TurnResult(TurnOutcome.ERROR, agent=request.agent, started_at=request.now)
        texts = [readable(message.text, message.kind) for message in request.new]
        if not any(texts):
            return _failed(
                result, "empty_message", "The message has neither text nor a known kind of content."
            )
        try:
            agent_policy = self._policy_of(request.agent)
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            return _failed(
                result, "bad_policy", f"The agent's policy is not valid: {problem['loc']}: {problem['msg']}"
            )

        result.opt_out = policy.opt_out_asked(texts)
        most = agent_policy.replies_per_hour or self._replies_per_hour
        replies = await _replies(request, most)
        situation = self._situation(request, texts, agent_policy, replies, most)
        result.verdicts, block = policy.before(situation)
        if block is None:
            block = await request.reserve()
            if block:
                result.verdicts.append(
                    Verdict(rule="budget", stage="before", verdict="block", detail=block.detail)
                )
        if block:
            return _blocked(result, block)
        assert request.agent is not None  # the rule no_agent has passed

        context = self._context(request, request.agent, texts, self._history_tokens)
        result.context = context
        result.context_at = now()
        if request.record_context_prompt:
            result.context_prompt = context.as_text()
        result.llm = await self._ask(request, request.agent, context, texts, begun + self._deadline_seconds)
        result.answered_at = now()
        return self._judge(result, request.agent, agent_policy, context)

    def _policy_of(self, agent: Agent | None) -> AgentPolicy:
        """An agent's policy, checked once for as long as the agent stays as it is. Raises ValidationError."""
        if agent is None:
            return AgentPolicy.model_validate({})
        known, checked = self._policies.get(agent.id, (None, None))
        if known is not agent or checked is None:
            checked = AgentPolicy.model_validate(agent.policy)
            self._policies[agent.id] = (agent, checked)
        return checked

    @staticmethod
    def _situation(
        request: TurnRequest, texts: list[str], agent_policy: AgentPolicy, replies: int, most: int
    ) -> Situation:
        return Situation(
            now=request.now,
            has_agent=request.agent is not None,
            texts=[text for text in texts if text],
            newest_new=max(message.created_at for message in request.new),
            history=request.history,
            opted_out=request.opted_out,
            window_hours=request.window_hours,
            last_inbound_at=request.last_inbound_at,
            max_age_hours=request.max_age_hours,
            replies=replies,
            replies_per_hour=most,
            human_phrases=agent_policy.human_phrases,
            for_person=request.for_person,
        )

    def _context(self, request: TurnRequest, agent: Agent, texts: list[str], budget: int) -> Context:
        new = [
            Said(message.id, "customer", text, message.created_at)
            for message, text in zip(request.new, texts, strict=True)
            if text
        ]
        last_ai = next((said.created_at for said in request.history if said.author == "ai"), None)
        ended = request.human_until is not None and (last_ai is None or last_ai < request.human_until)
        return build_context(
            prompt=agent.prompt,
            canary=canary_of(agent.id, agent.version, agent.prompt),
            customer=request.customer,
            history=request.history,
            new=new,
            budget=budget,
            human_stretch_ended=ended,
        )

    async def _ask(
        self, request: TurnRequest, agent: Agent, context: Context, texts: list[str], deadline: float
    ) -> LLMResult:
        routing = None
        if agent.routing:
            try:
                routing = self.router.parse(agent.routing)
            except RoutingError as error:
                log.warning("agent.routing_refused", agent=agent.id, error=str(error))

        def trim() -> Sequence[LLMMessage] | None:
            """Half the history, for a model whose window is smaller than thought."""
            shorter = self._context(request, agent, texts, context.stats["history_tokens"] // 2)
            if shorter.stats["history_kept"] == context.stats["history_kept"]:
                return None
            context.stats["trimmed_to"] = shorter.stats["history_kept"]
            return shorter.messages

        return await self.router.complete(
            TASK, context.messages, deadline=deadline, routing=routing, trim=trim
        )

    def _judge(
        self, result: TurnResult, agent: Agent, agent_policy: AgentPolicy, context: Context
    ) -> TurnResult:
        llm = result.llm
        assert llm is not None
        if llm.text is None:
            if llm.failure is FailureClass.CONTENT:
                detail = llm.error or "the provider refused the content"
                result.verdicts.append(Verdict(rule="content", stage="after", verdict="block", detail=detail))
                return _blocked(result, Block("policy.content", detail))
            failure = llm.failure or FailureClass.TRANSIENT
            result.outcome = TurnOutcome.RETRY if failure in WORTH_RETRYING else TurnOutcome.ERROR
            result.reason, result.error = f"llm.{failure}", llm.error
            return result
        text, verdicts, block = policy.after(
            llm.text, policy=agent_policy, canary=context.canary, prompt=agent.prompt
        )
        result.verdicts += verdicts
        result.text = text
        if block:
            return _blocked(result, block)
        if agent.mode == "suggest":
            return _blocked(result, Block("suggested", "the agent only suggests; a person sends"))
        result.outcome = TurnOutcome.REPLIED
        result.trace = trace_of(result, TASK)
        return result


async def _replies(request: TurnRequest, most: int) -> int:
    """The AI's replies within the loop guard's time: counted where the history does not reach back that far."""
    since = request.now - policy.LOOP_WINDOW
    told = policy.replies_in(request.history, since)
    if request.replies_since is None or told >= most or request.history[-1].created_at <= since:
        return told
    return await request.replies_since(since, most)


def trace_of(result: TurnResult, task: str) -> AITrace:
    """The strict trace of a won turn."""
    assert result.llm is not None
    assert result.llm.provider is not None
    assert result.llm.model is not None
    assert result.answered_at is not None
    return AITrace(
        task=task,
        provider=result.llm.provider,
        model=result.llm.model,
        usage=result.usage,
        context_prompt=result.context_prompt,
        recorded_at=result.answered_at,
    )


def _failed(result: TurnResult, reason: str, error: str) -> TurnResult:
    result.outcome, result.reason, result.error = TurnOutcome.ERROR, reason, error
    return result


def _blocked(result: TurnResult, block: Block) -> TurnResult:
    result.outcome, result.reason, result.error = TurnOutcome.TAKEOVER, block.reason, block.detail
    result.hand_over = block.hand_over
    return result


def record(result: TurnResult) -> dict[str, Any]:
    """The part of a turn's record that this module knows: the columns of `et_turns`, ready for `to_json`."""
    llm = result.llm
    return {
        "provider": llm.provider if llm else None,
        "model": llm.model if llm else None,
        "attempts": llm.attempts if llm else [],
        "verdicts": [policy.stored(verdict) for verdict in result.verdicts],
        "context": result.context.stats if result.context else {},
        "context_prompt": result.context_prompt,
        "prompt_tokens": result.usage.prompt_tokens,
        "completion_tokens": result.usage.completion_tokens,
        "total_tokens": result.usage.total_tokens,
        "cost_usd": result.cost_usd,
        "started_at": result.started_at,
        "context_at": result.context_at,
        "answered_at": result.answered_at,
    }
