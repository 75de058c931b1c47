"""The log line of a turn speaks OpenTelemetry's names, with an answer and without one."""

from __future__ import annotations

from datetime import UTC, datetime

from engine.inbound.turn_line import attributes
from engine.model import FailureClass, LLMAttempt, LLMResult, TurnOutcome, Usage
from engine.runtime.agent_runtime import TurnResult


def called(provider: str, *, ok: bool) -> LLMAttempt:
    return LLMAttempt(
        provider=provider,
        model=f"model of {provider}",
        started_at=datetime(2026, 3, 14, tzinfo=UTC),
        latency_ms=300,
        ok=ok,
        failure=None if ok else FailureClass.TRANSIENT,
        finish_reason="stop" if ok else None,
    )


def test_an_answer_is_told_with_the_call_that_gave_it() -> None:
    attempts = [called("uniapi", ok=False), called("zai", ok=True)]
    usage = Usage(prompt_tokens=12, completion_tokens=3, total_tokens=15)
    told = attributes(
        7, TurnResult(TurnOutcome.REPLIED, llm=LLMResult(text="Hi", usage=usage, attempts=attempts))
    )
    assert told == {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": "7",
        "gen_ai.provider.name": "zai",
        "gen_ai.request.model": "model of zai",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 12,
        "gen_ai.usage.output_tokens": 3,
        "error.type": None,
    }


def test_a_failure_is_told_by_its_class_and_a_turn_without_a_call_by_nothing() -> None:
    failed = LLMResult(text=None, failure=FailureClass.TRANSIENT, attempts=[called("zai", ok=False)])
    told = attributes(7, TurnResult(TurnOutcome.ERROR, llm=failed))
    assert (told["error.type"], told["gen_ai.provider.name"]) == ("transient", "zai")
    assert told["gen_ai.response.finish_reasons"] is None
    silent = attributes(7, TurnResult(TurnOutcome.TAKEOVER, reason="policy.opt_out"))
    assert {name for name, value in silent.items() if value is not None} == {
        "gen_ai.operation.name",
        "gen_ai.conversation.id",
    }
