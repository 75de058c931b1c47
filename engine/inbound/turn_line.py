"""A log line for each turn, at DEBUG: the names are OpenTelemetry's attributes of generative AI."""

from __future__ import annotations

from typing import Any

from engine.inbound.claims import Claim, Completed
from engine.logs import get_logger
from engine.runtime.agent_runtime import TurnResult

log = get_logger(__name__)


def tell(claim: Claim, result: TurnResult, done: Completed) -> None:
    """Write it."""
    log.debug(
        "turn.finished",
        message_id=claim.head_id,
        thread_id=claim.thread_id,
        outcome=done.result,
        reason=result.reason,
        **attributes(claim.thread_id, result),
    )


def attributes(thread_id: int, result: TurnResult) -> dict[str, Any]:
    """`gen_ai.*` and `error.type` of a turn; without a model's answer, of the last call."""
    llm, usage = result.llm, result.usage
    last = llm.attempts[-1] if llm and llm.attempts else None
    failure = llm.failure if llm else None
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": str(thread_id),
        "gen_ai.provider.name": last.provider if last else None,
        "gen_ai.request.model": last.model if last else None,
        "gen_ai.response.finish_reasons": [last.finish_reason] if last and last.finish_reason else None,
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "error.type": failure.value if failure else None,
    }
