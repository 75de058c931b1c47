"""Every error answer falls into the class that decides what happens next."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.llm.failures import (
    MESSAGE_LIMIT,
    ProviderFailure,
    classify,
    classify_answer,
    read_error_body,
    reset_time,
    retry_after_seconds,
)
from engine.model import FailureClass
from engine.text import sanitise

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


def failure(provider: str, status: int, body: object = None, **headers: str) -> ProviderFailure:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return classify(provider, status, named, raw, now=NOW)


def zai(code: object) -> dict[str, object]:
    return {"error": {"code": code, "message": "some words"}}


@pytest.mark.parametrize(
    ("provider", "status", "body", "expected"),
    [
        ("uniapi", 403, {"error": "Insufficient balance"}, FailureClass.MONEY),
        ("uniapi", 429, {"error": {"code": "insufficient_quota", "message": "x"}}, FailureClass.MONEY),
        ("uniapi", 429, {"error": {"type": "insufficient_quota", "message": "x"}}, FailureClass.MONEY),
        ("uniapi", 429, {"error": {"code": "rate_limit_exceeded", "message": "x"}}, FailureClass.RATE),
        ("uniapi", 429, b"", FailureClass.RATE),
        ("uniapi", 401, {"message": "bad key"}, FailureClass.AUTH),
        ("uniapi", 402, None, FailureClass.MONEY),
        ("uniapi", 400, b"plain words", FailureClass.REQUEST),
        ("uniapi", 404, None, FailureClass.REQUEST),
        ("uniapi", 413, None, FailureClass.REQUEST),
        ("uniapi", 308, None, FailureClass.REQUEST),
        ("uniapi", 408, None, FailureClass.TRANSIENT),
        ("uniapi", 500, b"<html>", FailureClass.TRANSIENT),
        ("uniapi", 503, None, FailureClass.TRANSIENT),
        ("uniapi", 400, {"error": {"code": "content_filter", "message": "x"}}, FailureClass.CONTENT),
        # A Z.ai code means nothing in another provider's mouth.
        ("uniapi", 429, zai("1113"), FailureClass.RATE),
        ("zai", 403, None, FailureClass.AUTH),
        ("zai", 429, b"", FailureClass.RATE),
        ("zai", 200, {"code": 500, "msg": "404 NOT_FOUND", "success": False}, FailureClass.TRANSIENT),
    ],
)
def test_the_answer_of_a_provider_has_a_class(
    provider: str, status: int, body: object, expected: FailureClass
) -> None:
    assert failure(provider, status, body).failure is expected


@pytest.mark.parametrize("as_number", [False, True])
@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        (("1113",), FailureClass.MONEY),
        (("1000", "1001", "1002", "1003", "1004"), FailureClass.AUTH),
        (("1302", "1303", "1305", "1312"), FailureClass.RATE),
        (("1304", "1308", "1310"), FailureClass.QUOTA),
        (("1210", "1211", "1212", "1213", "1214", "1215", "1261"), FailureClass.REQUEST),
        (("1301",), FailureClass.CONTENT),
    ],
)
@pytest.mark.parametrize("status", [200, 400, 429, 500])
def test_a_code_of_zai_wins_over_the_status(
    status: int, codes: tuple[str, ...], expected: FailureClass, as_number: bool
) -> None:
    for code in codes:
        assert failure("zai", status, zai(int(code) if as_number else code)).failure is expected


@pytest.mark.parametrize(
    ("body", "message", "code"),
    [
        (b'{"error": {"message": "no", "code": "1302"}, "request_id": "r1"}', "no", "1302"),
        (b'{"error": {"message": "no", "code": 1302}}', "no", "1302"),
        (b'{"error": "no"}', "no", None),
        (b'{"message": "no", "code": 7}', "no", "7"),
        (b'{"error": {"message": {"deep": 1}}}', '{"deep": 1}', None),
        (b'{"error": null}', "", None),
        (b"just words\n", "just words", None),
        (b"<html><head><title>502\n Bad Gateway</title>", "a web page titled “502 Bad Gateway”", None),
        (b"<html>", "a web page", None),
        (b'{"error": {"message": "cut of', '{"error": {"message": "cut of', None),
        (b"[1, 2]", "[1, 2]", None),
        (b"", "", None),
        (b"{" * 100_000, "{" * 20_000, None),
    ],
)
def test_error_bodies_of_any_shape_are_read(body: bytes, message: str, code: str | None) -> None:
    error = read_error_body(body)
    assert (error.message, error.code) == (message, code)


def test_the_message_is_one_safe_short_line() -> None:
    found = failure("uniapi", 500, {"error": "a\x1b[31mred\nline \u202e" + "x" * 5000})
    assert len(found.message) <= MESSAGE_LIMIT
    assert found.message == sanitise(found.message)
    assert "\n" not in found.message
    assert found.message.startswith("HTTP 500: a")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after": "Sun, 22 Nov 2026 08:00:30 GMT"}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 07:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Wed, 21 Oct 2099 07:28:00 +9999999999999"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        # Z.ai writes Beijing time, eight hours ahead of UTC.
        ("Your limit will reset at 2026-11-22 18:00:00", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("[1308][… reset at 2026-11-22 18:00:00][2026112]", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("您的限额将在 2026-11-22 18:00:00 重置。", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("reset at 2026-11-22T18:00:00Z", datetime(2026, 11, 22, 18, tzinfo=UTC)),
        ("reset at 2026-11-22 18:00:00 +02:00", datetime(2026, 11, 22, 16, tzinfo=UTC)),
        ("reset at 2026-11-22 15:59:59", None),
        ("reset at 2026-13-45 99:00:00", None),
        ("reset soon", None),
        ("", None),
    ],
)
def test_the_reset_of_a_quota_is_found_in_the_text(message: str, expected: datetime | None) -> None:
    assert reset_time(message, NOW) == expected


def test_a_quota_failure_carries_its_reset() -> None:
    found = failure("zai", 429, {"error": {"code": "1310", "message": "reset at 2026-11-25 00:00:00"}})
    assert found.reset_at == datetime(2026, 11, 24, 16, tzinfo=UTC)
    assert (
        failure("zai", 429, {"error": {"code": "1302", "message": "at 2026-11-25 00:00:00"}}).reset_at is None
    )


@pytest.mark.parametrize(
    ("finish_reason", "content", "expected"),
    [
        ("stop", "Hello", None),
        ("length", "Hello, and then", None),
        (None, "Hello", None),
        ("length", "", FailureClass.STARVED),
        ("length", " \n", FailureClass.STARVED),
        ("stop", "", FailureClass.EMPTY),
        (None, "", FailureClass.EMPTY),
        ("content_filter", "", FailureClass.CONTENT),
        ("sensitive", "half a sentence", FailureClass.CONTENT),
        ("network_error", "half a sentence", FailureClass.TRANSIENT),
    ],
)
def test_a_200_answer_may_be_a_failure(finish_reason: str | None, content: str, expected: object) -> None:
    assert classify_answer(finish_reason, content) is expected


@pytest.mark.parametrize("code", ["1261", "context_length_exceeded"])
def test_a_prompt_that_is_too_long_is_known_by_its_code(code: str) -> None:
    assert failure("zai", 400, zai(code)).prompt_too_long
    assert not failure("zai", 400, zai("1214")).prompt_too_long


@given(
    provider=st.sampled_from(["uniapi", "zai"]),
    status=st.integers(100, 599),
    header=st.text(max_size=40),
    body=st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["error", "message", "code", "type", "id"]), inner, max_size=4
                )
            ),
            max_leaves=8,
        ).map(lambda data: json.dumps(data).encode()),
    ),
)
def test_no_answer_whatever_breaks_the_classification(
    provider: str, status: int, header: str, body: bytes
) -> None:
    found = classify(provider, status, {"retry-after": header}, body, now=NOW)
    assert found.message == sanitise(found.message, MESSAGE_LIMIT)
    assert found.retry_after is None or found.retry_after >= 0
