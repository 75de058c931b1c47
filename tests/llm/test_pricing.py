"""An unknown price is None and never 0; a known one is the list price of the model's own maker."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import genai_prices
import pytest

from engine.llm.pricing import PriceOverride, billed_tokens, family_of, price
from engine.model import Usage

AT = datetime(2026, 11, 22, tzinfo=UTC)


def usage(prompt: int | None, completion: int | None, total: int | None = None, **raw: Any) -> Usage:
    return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=total, raw_usage=raw)


def cached(tokens: object) -> dict[str, Any]:
    return {"prompt_tokens_details": {"cached_tokens": tokens}}


MILLION = usage(1_000_000, 1_000_000)


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        ("uniapi", "gemini-3-flash-preview", "3.5"),
        ("uniapi", "gemini-2.5-flash", "2.8"),
        ("uniapi", "gemini-2.5-flash-nothinking", "2.8"),
        ("uniapi", "google/gemini-2.5-flash", "2.8"),
        ("uniapi", "gpt-4o", "12.5"),
        ("uniapi", "o3-mini", "5.5"),
        ("uniapi", "claude-haiku-4-5", "6"),
        # A bare "glm-4.7" would be priced as another vendor's, at less than half.
        ("uniapi", "glm-4.7", "2.8"),
        ("zai", "glm-4.7", "2.8"),
        ("zai", "GLM-4.7", "2.8"),
        ("zai", "glm-4.6", "2.8"),
        ("zai", "glm-4.7-flashx", "0.47"),
        ("zai", "glm-4.5-air", "1.3"),
        ("zai", "glm-5", "4.2"),
        ("zai", "glm-4.7-flash", "0"),
        ("zai", "glm-4.5-flash", "0"),
    ],
)
def test_list_prices(provider: str, model: str, expected: str) -> None:
    assert price(provider, model, MILLION, at=AT) == Decimal(expected)


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("uniapi", "a-model-nobody-knows"),
        ("uniapi", "gemini-99-ultra"),
        ("uniapi", "qwen3-max"),
        ("uniapi", "glm-4.7-flash"),  # free at Z.ai, not known to be so elsewhere
        ("uniapi", "gptx-4"),
        ("uniapi", ""),
        ("zai", "glm-99"),
        ("zai", "gpt-4o"),
    ],
)
def test_an_unknown_price_is_none(provider: str, model: str) -> None:
    assert price(provider, model, MILLION, at=AT) is None


@pytest.mark.parametrize("counts", [(None, None), (100, None), (None, 100)])
def test_unknown_usage_has_no_price(counts: tuple[int | None, int | None]) -> None:
    assert price("uniapi", "gemini-3-flash-preview", usage(*counts), at=AT) is None


def test_cached_tokens_cost_less() -> None:
    used = usage(1_000_000, 0, **cached(400_000))
    assert price("zai", "glm-4.7", used, at=AT) == Decimal("0.6") * Decimal("0.6") + Decimal("0.4") * Decimal(
        "0.11"
    )


@pytest.mark.parametrize("tokens", [5_000_000, 10**30])
def test_more_cached_than_sent_counts_as_all_cached(tokens: int) -> None:
    assert price("zai", "glm-4.7", usage(1_000_000, 0, **cached(tokens)), at=AT) == Decimal("0.11")


@pytest.mark.parametrize("tokens", [-5, "many", None, True, 1.5, [], {}])
def test_nonsense_in_the_cache_count_is_ignored(tokens: object) -> None:
    assert price("zai", "glm-4.7", usage(1_000_000, 0, **cached(tokens)), at=AT) == Decimal("0.6")


def test_tokens_missing_from_the_counts_are_priced_as_output() -> None:
    """Some Gemini gateways leave reasoning out of the completion; only the total shows it."""
    used = usage(100, 50, 1150)
    assert billed_tokens(used) == (100, 0, 1050)
    full = usage(100, 1050, 1150)
    assert price("uniapi", "gemini-3-flash-preview", used, at=AT) == price(
        "uniapi", "gemini-3-flash-preview", full, at=AT
    )


def test_a_total_below_the_sum_takes_nothing_away() -> None:
    assert billed_tokens(usage(100, 50, 10)) == (100, 0, 50)


def test_a_missing_completion_count_is_what_the_total_leaves() -> None:
    assert billed_tokens(usage(100, None, 130)) == (100, 0, 30)


def test_the_multiplier_turns_list_price_into_real_price() -> None:
    assert price("uniapi", "gpt-4o", MILLION, multiplier=Decimal("0.8"), at=AT) == Decimal(10)


def test_an_override_is_what_is_really_paid() -> None:
    overrides = {"uniapi/gpt-4o": PriceOverride(input_per_m=Decimal(1), output_per_m=Decimal(2))}
    assert price("uniapi", "gpt-4o", MILLION, multiplier=Decimal(7), overrides=overrides) == Decimal(3)
    assert price("uniapi", "gpt-4o-mini", MILLION, overrides=overrides, at=AT) == Decimal("0.75")


def test_an_override_prices_cached_tokens_as_told() -> None:
    used = usage(1_000_000, 0, **cached(500_000))
    plain = PriceOverride(input_per_m=Decimal(2), output_per_m=Decimal(0))
    cheap = PriceOverride(input_per_m=Decimal(2), cached_per_m=Decimal(0), output_per_m=Decimal(0))
    assert price("uniapi", "m", used, overrides={"uniapi/m": plain}) == Decimal(2)
    assert price("uniapi", "m", used, overrides={"uniapi/m": cheap}) == Decimal(1)


def test_an_override_prices_even_what_is_free() -> None:
    overrides = {"zai/glm-4.7-flash": PriceOverride(input_per_m=Decimal(1), output_per_m=Decimal(1))}
    assert price("zai", "glm-4.7-flash", MILLION, overrides=overrides) == Decimal(2)


@pytest.mark.parametrize("hour", [0, 5, 12, 17])
@pytest.mark.parametrize("prompt", [1_000, 250_000])
@pytest.mark.parametrize(
    ("maker", "model"),
    [
        ("google", "gemini-3-flash-preview"),
        ("google", "gemini-3-pro-preview"),  # tiers by prompt length
        ("openai", "gpt-4o"),
        ("anthropic", "claude-sonnet-4-5"),  # tiers
        ("deepseek", "deepseek-chat"),  # depends on the hour
        ("perplexity", "sonar"),  # a fee per request
        ("zai", "glm-5.3-flash"),  # changed its price on a date
    ],
)
def test_kept_rates_give_what_the_table_gives(maker: str, model: str, prompt: int, hour: int) -> None:
    at = datetime(2026, 11, 22, hour, 45, tzinfo=UTC)
    asked = genai_prices.Usage(input_tokens=prompt, cache_read_tokens=100, output_tokens=500)
    expected = genai_prices.calc_price(
        asked, model, provider_id=maker, genai_request_timestamp=at
    ).total_price
    for _ in range(2):
        assert price("uniapi", model, usage(prompt, 500, **cached(100)), at=at) == expected


def test_a_price_is_that_of_its_day() -> None:
    early = price("zai", "glm-5.3-flash", MILLION, at=datetime(2026, 9, 1, tzinfo=UTC))
    late = price("zai", "glm-5.3-flash", MILLION, at=datetime(2026, 11, 1, tzinfo=UTC))
    assert (early, late) == (Decimal("0.325"), Decimal("0.65"))


@pytest.mark.parametrize("model", ["gemini-embedding-001", "gpt-transcribe"])
def test_what_is_not_sold_by_the_token_has_no_price(model: str) -> None:
    """An embedding model has no output price: the table would say 0 for an answer."""
    answer = genai_prices.Usage(output_tokens=5)
    maker = family_of(model)
    assert genai_prices.calc_price(answer, model, provider_id=maker).total_price == 0
    assert price("uniapi", model, usage(0, 5), at=AT) is None


@pytest.mark.parametrize(
    ("model", "maker"),
    [
        ("o1", "openai"),
        ("o4-mini", "openai"),
        ("gpt4all", "openai"),
        ("glmish", None),
        ("kimi-k2", "moonshotai"),
    ],
)
def test_the_maker_is_told_by_the_name(model: str, maker: str | None) -> None:
    assert family_of(model) == maker
