"""Why an LLM call failed: one class per cause, read off what the far end really said.

The class, not the HTTP status, decides what happens next. A 429 may be a busy moment, an empty account
or a used-up week; only the code in the body tells which.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from engine.model import FailureClass, Usage
from engine.text import one_line

#: Characters of a far end's message that are kept.
MESSAGE_LIMIT = 300

#: Z.ai's business codes (docs.z.ai/api-reference/api-code); they win over the HTTP status.
ZAI_CODES: Mapping[str, FailureClass] = {
    **dict.fromkeys(("1113", "1309"), FailureClass.MONEY),
    **dict.fromkeys(("1000", "1001", "1002", "1003", "1004"), FailureClass.AUTH),
    # The account itself is inactive, missing, locked or suspended: no retry helps either.
    **dict.fromkeys(("1110", "1111", "1112", "1121", "1313"), FailureClass.AUTH),
    **dict.fromkeys(("1302", "1303", "1305", "1312"), FailureClass.RATE),
    **dict.fromkeys(("1304", "1308", "1310"), FailureClass.QUOTA),
    **dict.fromkeys(("1210", "1211", "1212", "1213", "1214", "1215", "1261"), FailureClass.REQUEST),
    **dict.fromkeys(("1220", "1221", "1222", "1311"), FailureClass.REQUEST),
    "1301": FailureClass.CONTENT,
    **dict.fromkeys(("1120", "1200", "1230", "1234"), FailureClass.TRANSIENT),
}
#: OpenAI-style `error.code` or `error.type` values that say more than the status does.
OPENAI_CODES: Mapping[str, FailureClass] = {
    "insufficient_quota": FailureClass.MONEY,
    "insufficient_user_quota": FailureClass.MONEY,
    "content_filter": FailureClass.CONTENT,
    "content_policy_violation": FailureClass.CONTENT,
}
#: Codes that say the prompt is longer than the model's window.
PROMPT_TOO_LONG = frozenset({"1261", "context_length_exceeded"})

#: Z.ai writes reset times without an offset, in Beijing time.
ZAI_TIMEZONE = timezone(timedelta(hours=8))
_STAMP = re.compile(r"(\d{4}-\d{2}-\d{2})[ T](\d{2}:\d{2}:\d{2})\s*(Z|[+-]\d{2}:?\d{2})?")
_TITLE = re.compile(r"<title[^>]*>(.{0,200}?)</title", re.IGNORECASE | re.DOTALL)


class ProviderFailure(Exception):
    """A call that gave no reply to send. `message` is sanitised and cut; it never holds a secret."""

    def __init__(
        self,
        failure: FailureClass,
        message: str,
        *,
        http_status: int | None = None,
        code: str | None = None,
        retry_after: float | None = None,
        reset_at: datetime | None = None,
        timed_out: bool = False,
        adapted: bool = False,
        finish_reason: str | None = None,
        request_id: str | None = None,
        usage: Usage | None = None,
    ) -> None:
        self.failure = failure
        self.message = one_line(message, MESSAGE_LIMIT)
        self.http_status = http_status
        self.code = code
        self.retry_after = retry_after
        """Seconds the far end asked to be left alone."""
        self.reset_at = reset_at
        """When a used-up quota is refilled, with its offset."""
        self.timed_out = timed_out
        self.adapted = adapted
        """The provider will send a different body next time: the same request is worth one more call."""
        self.finish_reason = finish_reason
        self.request_id = request_id
        self.usage = usage
        """Tokens that were spent although no reply came."""
        super().__init__(self.message)

    @property
    def prompt_too_long(self) -> bool:
        return self.code in PROMPT_TOO_LONG


class ErrorBody(NamedTuple):
    """What an error answer says, whatever its shape."""

    message: str
    code: str | None = None
    kind: str | None = None
    """OpenAI's `error.type`."""
    request_id: str | None = None


def classify(
    provider: str, status: int, headers: Mapping[str, str], body: bytes, *, now: datetime
) -> ProviderFailure:
    """The failure an error answer stands for. `headers` must find names in any case or in lower case."""
    error = read_error_body(body)
    failure = _failure_class(provider, status, error)
    wait = retry_after_seconds(headers, now)
    label = f"HTTP {status}" + (f", code {error.code}" if error.code else "")
    return ProviderFailure(
        failure,
        f"{label}: {error.message}" if error.message else label,
        http_status=status,
        code=error.code,
        retry_after=wait,
        reset_at=reset_time(error.message, now) if failure is FailureClass.QUOTA else None,
        request_id=error.request_id,
    )


def _failure_class(provider: str, status: int, error: ErrorBody) -> FailureClass:
    for code in (error.code or "", error.kind or ""):
        if provider == "zai" and code in ZAI_CODES:
            return ZAI_CODES[code]
        if code in OPENAI_CODES:
            return OPENAI_CODES[code]
    if status == 429:
        return FailureClass.MONEY if "insufficient_quota" in error.message else FailureClass.RATE
    if status == 403:  # UniAPI documents it as insufficient balance
        return FailureClass.MONEY if provider == "uniapi" else FailureClass.AUTH
    if status == 402:
        return FailureClass.MONEY
    if status == 401:
        return FailureClass.AUTH
    if status == 408 or status >= 500 or status < 300:
        return FailureClass.TRANSIENT
    return FailureClass.REQUEST


def classify_answer(finish_reason: str | None, content: str) -> FailureClass | None:
    """Why a 200 answer cannot be sent, or None when it can."""
    if finish_reason in ("content_filter", "sensitive"):
        return FailureClass.CONTENT
    if finish_reason == "network_error":
        return FailureClass.TRANSIENT
    if content.strip():
        return None
    return FailureClass.STARVED if finish_reason == "length" else FailureClass.EMPTY


def read_error_body(body: bytes) -> ErrorBody:
    """Reads `{"error": {...}}`, `{"error": "…"}`, `{"message": "…"}`, an HTML page or plain text."""
    text = body[:20_000].decode("utf-8", "replace").strip()
    try:
        data = json.loads(body) if text.startswith("{") else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        return ErrorBody(_page_title(text) if text.startswith("<") else text)
    inner = data.get("error")
    source = inner if isinstance(inner, dict) else data
    message = inner if isinstance(inner, str) else source.get("message") or source.get("msg") or ""
    return ErrorBody(
        message if isinstance(message, str) else json.dumps(message),
        _code(source.get("code")),
        _code(source.get("type")),
        _code(data.get("request_id") or data.get("id")),
    )


def _code(value: Any) -> str | None:
    """A code as text: Z.ai sends strings, other gateways numbers."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    return one_line(str(value), 100)


def _page_title(html: str) -> str:
    found = _TITLE.search(html)
    return f"a web page titled “{' '.join(found[1].split())}”" if found else "a web page"


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds asked for by `Retry-After` (seconds or HTTP date) or `retry-after-ms`; None when unreadable."""
    millis = _number(headers.get("retry-after-ms"))
    if millis is not None:
        return millis / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    try:
        when = parsedate_to_datetime(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return max(0.0, ((when if when.tzinfo else when.replace(tzinfo=UTC)) - now).total_seconds())


def _number(value: str | None) -> float | None:
    """A finite number ≥ 0, else None."""
    if value is None or not re.fullmatch(r"\s*\d{1,12}(\.\d{1,9})?\s*", value, re.ASCII):
        return None
    return float(value)


def reset_time(message: str, now: datetime) -> datetime | None:
    """The moment a quota message names ("… will reset at 2026-11-22 18:00:00"); None unless it is ahead."""
    found = _STAMP.search(message)
    if not found:
        return None
    day, hour, offset = found.groups()
    try:
        when = datetime.fromisoformat(f"{day}T{hour}{offset or ''}")
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=ZAI_TIMEZONE)
    return when if when > now else None
