"""What an answer cost, in USD: the operator's own prices first, then list prices, else unknown.

List prices come from the table inside `genai-prices`; nothing is fetched. The table takes about half a
second and 20 MB to load, so it is imported at the first use; `load()` does it early, in a thread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from engine.model import Usage

MILLION = Decimal(1_000_000)

#: Who made a model, by the start of its name, as `genai-prices` calls them. Longest prefixes are not
#: needed: no prefix starts another.
FAMILIES: Mapping[str, str] = {
    "gemini": "google",
    "gemma": "google",
    "gpt": "openai",
    "chatgpt": "openai",
    "o1": "openai",
    "o3": "openai",
    "o4": "openai",
    "claude": "anthropic",
    "glm": "zai",
    "deepseek": "deepseek",
    "grok": "x-ai",
    "mistral": "mistral",
    "ministral": "mistral",
    "magistral": "mistral",
    "mixtral": "mistral",
    "codestral": "mistral",
    "kimi": "moonshotai",
    "moonshot": "moonshotai",
    "command": "cohere",
    "minimax": "minimax",
    "sonar": "perplexity",
}
#: Z.ai gives these away; the price table does not know them.
ZAI_FREE = frozenset({"glm-4.7-flash", "glm-4.5-flash"})


#: More than any model costs, and still a sum that a column holds.
MOST_USD_PER_M = 1_000_000


class PriceOverride(BaseModel):
    """What the operator really pays, in USD per million tokens; no multiplier is applied to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input_per_m: Decimal = Field(ge=0, le=MOST_USD_PER_M)
    cached_per_m: Decimal | None = Field(default=None, ge=0, le=MOST_USD_PER_M)
    """Without it cached tokens cost what other input costs."""
    output_per_m: Decimal = Field(ge=0, le=MOST_USD_PER_M)


class Rates(NamedTuple):
    """USD per million tokens."""

    input: Decimal
    cached: Decimal
    output: Decimal


class Tokens(NamedTuple):
    """What is billed: `cached` is a part of `prompt`; `output` holds the tokens no count accounts for."""

    prompt: int
    cached: int
    output: int


def price(
    provider: str,
    model: str,
    usage: Usage,
    *,
    multiplier: Decimal = Decimal(1),
    overrides: Mapping[str, PriceOverride] | None = None,
    at: datetime | None = None,
) -> Decimal | None:
    """USD for `usage`, or None when the price or the usage is unknown; 0 only for what is free.

    `overrides` is keyed "provider/model". `multiplier` turns a list price into what the provider charges.
    List prices are those of the moment `at` (now, unless told).
    """
    override = (overrides or {}).get(f"{provider}/{model}")
    name = bare_model(model)
    if override is None and provider == "zai" and name in ZAI_FREE:
        return Decimal(0)
    tokens = billed_tokens(usage)
    if tokens is None:
        return None
    if override is not None:
        cached = override.cached_per_m if override.cached_per_m is not None else override.input_per_m
        return _linear(Rates(override.input_per_m, cached, override.output_per_m), tokens)
    family = "zai" if provider == "zai" else family_of(name)
    listed = _list_price(family, name, tokens, at or datetime.now(UTC)) if family else None
    return None if listed is None else listed * multiplier


def load() -> None:
    """Reads the price table (about 0.5 s, once a process)."""
    _list_price("google", "gemini-3-flash-preview", Tokens(1, 0, 1), datetime.now(UTC))


def bare_model(model: str) -> str:
    """The name the price table knows: lower case, without a vendor's prefix or the `-nothinking` suffix."""
    return model.strip().lower().rpartition("/")[2].removesuffix("-nothinking")


def family_of(model: str) -> str | None:
    """The maker of a model by its name, or None."""
    for prefix, maker in FAMILIES.items():
        if re.match(rf"{prefix}(?![a-z])", model):
            return maker
    return None


def billed_tokens(usage: Usage) -> Tokens | None:
    """What to bill, or None when the counts do not say."""
    if usage.prompt_tokens is None or (usage.completion_tokens is None and usage.total_tokens is None):
        return None
    output = (usage.completion_tokens or 0) + uncounted_tokens(usage)
    return Tokens(usage.prompt_tokens, min(cached_tokens(usage), usage.prompt_tokens), output)


def uncounted_tokens(usage: Usage) -> int:
    """Tokens in the provider's total that neither count holds: reasoning that a gateway left out."""
    return max(0, (usage.total_tokens or 0) - (usage.prompt_tokens or 0) - (usage.completion_tokens or 0))


def cached_tokens(usage: Usage) -> int:
    """`prompt_tokens_details.cached_tokens` of the provider's own record, 0 when it says nothing usable."""
    details = usage.raw_usage.get("prompt_tokens_details")
    value = details.get("cached_tokens") if isinstance(details, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _linear(rates: Rates, tokens: Tokens) -> Decimal:
    fresh = tokens.prompt - tokens.cached
    return (fresh * rates.input + tokens.cached * rates.cached + tokens.output * rates.output) / MILLION


def _list_price(family: str, model: str, tokens: Tokens, at: datetime) -> Decimal | None:
    known, rates = _look_up(family, model, at.date())
    if rates is not None:
        return _linear(rates, tokens)
    calculation = _calculate(family, model, tokens, at) if known else None
    return None if calculation is None else calculation.total_price


@lru_cache(maxsize=512)
def _look_up(family: str, model: str, day: date) -> tuple[bool, Rates | None]:
    """Whether the table knows the model, and its rates if all tokens cost the same all `day`.

    Kept, because a look-up costs 0.2 ms: as much as all else that is done for a message.
    """
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    sample = Tokens(1_000_000, 400_000, 1_000)
    calculation = _calculate(family, model, sample, at)
    if calculation is None:
        return False, None
    listed = calculation.model_price
    rates = Rates(listed.input_mtok, listed.cache_read_mtok or listed.input_mtok, listed.output_mtok)
    flat = (
        all(isinstance(rate, Decimal) for rate in rates)  # no tiers
        and _holds_all_day(calculation.model.prices)
        and _linear(rates, sample) == calculation.total_price  # no fee per request
    )
    return True, rates if flat else None


def _holds_all_day(prices: Any) -> bool:
    """False when a price depends on the hour."""
    from genai_prices.types import StartDateConstraint

    options = prices if isinstance(prices, list) else []
    return all(o.constraint is None or isinstance(o.constraint, StartDateConstraint) for o in options)


def _calculate(family: str, model: str, tokens: Tokens, at: datetime) -> Any:
    """genai-prices' own calculation, or None for what it does not know or does not sell by the token."""
    import genai_prices  # slow to import, see the top of this module

    # Always with provider_id: a bare "glm-4.7" is priced as another vendor's.
    usage = genai_prices.Usage(
        input_tokens=tokens.prompt, cache_read_tokens=tokens.cached, output_tokens=tokens.output
    )
    try:
        calculation = genai_prices.calc_price(usage, model, provider_id=family, genai_request_timestamp=at)
    except (LookupError, ValueError):
        return None
    listed = calculation.model_price
    return None if listed.input_mtok is None or listed.output_mtok is None else calculation
