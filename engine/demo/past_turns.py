"""Turns of an invented past: judged, prompted and priced by the code that does so for real ones."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from engine.demo import bistro
from engine.llm import pricing
from engine.llm.routing import DEFAULT_ROUTING, Route
from engine.model import FailureClass, LLMAttempt, LLMResult, TurnOutcome, Usage
from engine.runtime import policy
from engine.runtime.agent_runtime import NewMessage, TurnResult, trace_of
from engine.runtime.context_builder import Said, build_context, canary_of, estimate_tokens, readable
from engine.runtime.policy import AgentPolicy, Situation

TASK = "conversation"
FALLBACK_SHARE = 0.06
HISTORY_TOKENS = 6000


class PastAgent:
    """The bistro's agent, as it answered earlier."""

    def __init__(self, agent_id: int, rng: random.Random) -> None:
        self._rng = rng
        self._policy = AgentPolicy.model_validate(bistro.POLICY)
        self._canary = canary_of(agent_id, bistro.VERSION, bistro.PROMPT)

    def turn(
        self,
        customer: str,
        history: Sequence[Said],
        new: Sequence[NewMessage],
        now: datetime,
        *,
        after_human: bool,
    ) -> TurnResult:
        """What became of new messages at `now`. `history` is newest first."""
        texts = [readable(message.text, message.kind) for message in new]
        result = TurnResult(TurnOutcome.TAKEOVER, started_at=now)
        result.verdicts, block = policy.before(self._situation(history, new, texts, now))
        if block:
            result.reason, result.error = block.reason, block.detail
            result.hand_over, result.opt_out = block.hand_over, policy.opt_out_asked(texts)
            return result
        result.context = build_context(
            prompt=bistro.PROMPT,
            canary=self._canary,
            customer=customer,
            history=history,
            new=[Said(0, "customer", text, now) for text in texts],
            budget=HISTORY_TOKENS,
            human_stretch_ended=after_human,
        )
        result.context_at = now + timedelta(milliseconds=self._rng.uniform(1, 4))
        result.context_prompt = result.context.as_text()
        prompt_tokens = result.context.stats["prompt_tokens_estimated"]
        result.llm = self._ask("\n".join(texts), prompt_tokens, result.context_at)
        won = result.llm.attempts[-1]
        result.answered_at = won.started_at + timedelta(milliseconds=won.latency_ms)
        result.text, judged, block = policy.after(
            result.llm.text or "", policy=self._policy, canary=self._canary, prompt=bistro.PROMPT
        )
        assert block is None, block
        result.verdicts += judged
        result.outcome = TurnOutcome.REPLIED
        result.trace = trace_of(result, TASK)
        return result

    def _situation(
        self, history: Sequence[Said], new: Sequence[NewMessage], texts: list[str], now: datetime
    ) -> Situation:
        return Situation(
            now=now,
            has_agent=True,
            texts=[text for text in texts if text],
            newest_new=new[-1].created_at,
            history=history,
            opted_out=False,
            window_hours=None,
            max_age_hours=24.0,
            replies=policy.replies_in(history, now - policy.LOOP_WINDOW),
            replies_per_hour=self._policy.replies_per_hour or 30,
            human_phrases=self._policy.human_phrases,
        )

    def _ask(self, text: str, prompt_tokens: int, at: datetime) -> LLMResult:
        """The default route's answer: UniAPI's, or now and then Z.ai's after UniAPI had failed."""
        attempts: list[LLMAttempt] = []
        first, second = DEFAULT_ROUTING.default[:2]
        route = first
        if self._rng.random() < FALLBACK_SHARE:
            failed = self._attempt(first, at, 0.2, ok=False)
            failed.failure, failed.http_status = FailureClass.TRANSIENT, 503
            failed.error = "HTTP 503: The service is temporarily unavailable."
            attempts.append(failed)
            at += timedelta(milliseconds=failed.latency_ms)
            route = second
        won = self._attempt(route, at, 0.9, ok=True)
        answer = bistro.answer_to(text)
        written = estimate_tokens(answer)
        counts = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": written,
            "total_tokens": prompt_tokens + written,
        }
        usage = Usage(**counts, raw_usage=counts)
        cost = pricing.price(route.provider, route.model, usage, at=at)
        won.http_status, won.finish_reason = 200, "stop"
        won.usage = usage.model_copy(update={"estimated_cost_usd": None if cost is None else float(cost)})
        attempts.append(won)
        return LLMResult(
            text=answer,
            provider=route.provider,
            model=route.model,
            usage=won.usage,
            cost_usd=cost,
            attempts=attempts,
        )

    def _attempt(self, route: Route, at: datetime, seconds: float, *, ok: bool) -> LLMAttempt:
        latency = self._rng.lognormvariate(0.0, 0.4) * seconds
        return LLMAttempt(
            provider=route.provider, model=route.model, started_at=at, latency_ms=round(latency * 1000), ok=ok
        )
