"""The bodies that UniAPI and Z.ai answer with, as they document them (and as users report them)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from engine.demo.answers import estimated_tokens

#: Modes that answer 200 with a completion of an unusual shape.
SHAPED = frozenset({"empty", "starved"})
BEIJING = timezone(timedelta(hours=8))
QUOTA_WINDOW = timedelta(hours=5)
#: Prompts from this many tokens on are found in the cache, but for their end.
CACHED_FROM = 256
REASONING_TOKENS = 120

#: Per provider, a mode's HTTP status, its code or type, and what it says.
FAULTS: Mapping[str, Mapping[str, tuple[int, str, str]]] = {
    "uniapi": {
        "400": (400, "invalid_request_error", "Invalid value for a body field."),
        "401": (401, "invalid_api_key", "Incorrect API key provided: {key}."),
        "403": (403, "insufficient_balance", "Insufficient balance, please recharge."),
        "404": (404, "model_not_found", "The model does not exist."),
        "413": (413, "request_too_large", "The request is too large."),
        "429": (429, "rate_limit_exceeded", "Too many requests, please slow down."),
        "429-money": (429, "insufficient_quota", "You exceeded your current quota, please check your plan."),
        "no-reasoning": (400, "invalid_request_error", "Thinking cannot be turned off for this model."),
        "500": (500, "internal_error", "Internal server error."),
        "503": (503, "overloaded", "The service is temporarily unavailable."),
    },
    "zai": {
        "400": (400, "1214", "Invalid messages parameter. Please check the documentation."),
        "401": (401, "1002", "Invalid Authentication Token: {key}"),
        "403": (403, "1220", "You do not have permission to access chat."),
        "404": (404, "1211", "Model does not exist, please check the model code."),
        "429": (429, "1303", "High frequency usage of this API, please reduce frequency."),
        "429-money": (429, "1113", "Insufficient balance or no resource package. Please recharge."),
        "1261": (400, "1261", "Prompt is too long."),
        "1301": (
            400,
            "1301",
            "System detected potentially unsafe or sensitive content in input or generation.",
        ),
        "1302": (429, "1302", "High concurrency usage of this API, please reduce concurrency."),
        "1308": (429, "1308", "Usage limit reached for 5 hour. Your limit will reset at {reset}"),
        "500": (500, "500", "Internal Error"),
        "503": (503, "1234", "Network error, please contact customer service."),
    },
}


def fault(provider: str, mode: str, key: str) -> tuple[int, dict[str, Any]]:
    """Status and body of an error answer; it quotes the key it was called with, as some far ends do."""
    status, code, message = FAULTS[provider][mode]
    reset = (datetime.now(UTC) + QUOTA_WINDOW).astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S")
    message = message.format(key=key, reset=reset)
    if provider == "zai":
        return status, {"error": {"code": code, "message": message}}
    return status, {"error": {"message": message, "type": code, "code": code, "param": None}}


def completion(provider: str, asked: Mapping[str, Any], text: str, mode: str, number: int) -> dict[str, Any]:
    """A chat completion with `text`, its usage estimated from lengths."""
    prompt = sum(estimated_tokens(str(message.get("content", ""))) for message in asked["messages"])
    starved = mode == "starved"
    limit = asked.get("max_tokens") or 1024
    reasoning = limit if starved else _reasoning_tokens(provider, asked)
    message: dict[str, Any] = {"role": "assistant", "content": text}
    written = estimated_tokens(text) if text else 0
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written + reasoning,
    }
    if prompt >= CACHED_FROM:
        usage["prompt_tokens_details"] = {"cached_tokens": prompt * 3 // 4}
    answer = {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": asked.get("model", ""),
        "choices": [{"index": 0, "message": message, "finish_reason": "length" if starved else "stop"}],
        "usage": usage,
    }
    if provider == "zai":  # counts reasoning as completion; UniAPI's Gemini only shows it in the total
        answer["request_id"] = f"{int(time.time())}{number:08d}"
        usage["completion_tokens"] = written + reasoning
        if reasoning:
            message["reasoning_content"] = "The customer asks …"
            usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return answer


def _reasoning_tokens(provider: str, asked: Mapping[str, Any]) -> int:
    """Thinking is on unless the request turns it off."""
    if provider == "zai":
        off = (asked.get("thinking") or {}).get("type") == "disabled"
    else:
        off = "reasoning" in asked and not (asked["reasoning"] or {}).get("max_tokens")
    return 0 if off else REASONING_TOKENS


def models() -> dict[str, Any]:
    """`GET /v1/models` of UniAPI."""
    names = ("gemini-3-flash-preview", "gemini-2.5-flash", "gpt-4o", "claude-sonnet-4-5", "glm-4.7")
    return {"object": "list", "data": [{"id": name, "object": "model"} for name in names]}


BALANCE_USD = 12.34
"""Of the account, before the first call."""
CALL_USD = 0.0004


def usage_report(calls: int = 0) -> dict[str, Any]:
    """`GET /v1/billing/usage?unit=usd` of UniAPI, after so many calls."""
    left = max(0.0, BALANCE_USD - calls * CALL_USD)
    return {
        "success": True,
        "data": {"balance": round(left, 6), "used": round(100 - left, 6), "cache_used": 0.0},
    }
