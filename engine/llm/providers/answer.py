"""Reads an OpenAI-style chat completion as it really arrives: odd shapes, odd numbers, odd characters."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from engine.llm.failures import ProviderFailure, classify_answer
from engine.model import FailureClass, Usage
from engine.text import clean_for_storage, clean_json, one_line

#: Counts above this are nonsense, and more than an integer column holds.
MAX_TOKENS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Completion:
    """A reply that can be sent."""

    text: str
    finish_reason: str | None
    request_id: str | None
    usage: Usage


def read_json(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; blank heartbeat lines before it do no harm.

    Raises ProviderFailure (transient) for anything else.
    """
    try:
        data = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise ProviderFailure(
            FailureClass.TRANSIENT, "the answer is not JSON, or was cut off", http_status=200
        )
    return data


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def read_completion(data: dict[str, Any]) -> Completion:
    """The reply in a 200 answer. Raises ProviderFailure when there is none to send."""
    choice = _first_choice(data)
    message = choice.get("message")
    content = _text(message.get("content")) if isinstance(message, dict) else ""
    finish_reason = _label(choice.get("finish_reason"))
    request_id = _label(data.get("request_id")) or _label(data.get("id"))
    usage = read_usage(data.get("usage"))
    failure = classify_answer(finish_reason, content)
    if failure is not None:
        raise ProviderFailure(
            failure,
            f"no text to send (finish_reason {finish_reason})",
            http_status=200,
            finish_reason=finish_reason,
            request_id=request_id,
            usage=usage,
        )
    return Completion(content, finish_reason, request_id, usage)


def _first_choice(data: dict[str, Any]) -> dict[str, Any]:
    choices = data.get("choices")
    if not isinstance(choices, list):
        raise ProviderFailure(FailureClass.TRANSIENT, "the answer holds no choices", http_status=200)
    first = choices[0] if choices else {}
    return first if isinstance(first, dict) else {}


def _text(content: Any) -> str:
    """Content as text, be it a string or a list of parts, less what PostgreSQL cannot hold."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(part for part in parts if isinstance(part, str))
    return clean_for_storage(content).strip() if isinstance(content, str) else ""


def _label(value: Any) -> str | None:
    return one_line(value, 100) if isinstance(value, str) and value else None


def read_usage(raw: Any) -> Usage:
    """Token counts, and the provider's own record kept whole (less what jsonb cannot hold).

    A total that is larger than prompt + completion is kept: some gateways leave reasoning out of
    the completion, and only the total shows it.
    """
    if not isinstance(raw, dict):
        return Usage()
    prompt, completion, total = (
        _count(raw.get(key)) for key in ("prompt_tokens", "completion_tokens", "total_tokens")
    )
    if total is None and prompt is not None and completion is not None:
        total = prompt + completion
    return Usage(
        prompt_tokens=prompt, completion_tokens=completion, total_tokens=total, raw_usage=clean_json(raw)
    )


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_TOKENS:
        return None
    return value
