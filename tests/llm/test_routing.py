"""`llm_routing_config`: what is understood, and what is refused with a reason."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from engine.llm.routing import DEFAULT_ROUTING, RoutingConfig, RoutingError, parse_routing

KNOWN = ("uniapi", "zai")
GEMINI = {"provider": "uniapi", "model": "gemini-3-flash-preview"}
GLM = {"provider": "zai", "model": "glm-4.7"}


def names(config: RoutingConfig, task: str = "conversation") -> list[str]:
    return [f"{route.provider}/{route.model}" for route in config.routes(task)]


def test_by_default_uniapi_answers_all_tasks_and_zai_is_the_fallback() -> None:
    for nothing in (None, "", "null"):
        assert parse_routing(nothing, KNOWN) == DEFAULT_ROUTING
    assert names(DEFAULT_ROUTING, "any task") == ["uniapi/gemini-3-flash-preview", "zai/glm-4.7-flash"]


def test_the_full_form_is_taken_as_it_stands() -> None:
    config = parse_routing(
        {
            "default": [GEMINI],
            "tasks": {
                "conversation": [
                    {**GLM, "timeout_seconds": 7, "max_tokens": None, "params": {"top_p": 0.5}},
                    GEMINI,
                ]
            },
            "price_multiplier": {"uniapi": 0.8},
            "price_overrides": {"uniapi/x": {"input_per_m": 1, "cached_per_m": 0.5, "output_per_m": 2}},
        },
        KNOWN,
    )
    assert names(config) == ["zai/glm-4.7", "uniapi/gemini-3-flash-preview"]
    assert names(config, "summary") == ["uniapi/gemini-3-flash-preview"]
    first = config.routes("conversation")[0]
    assert (first.timeout_seconds, first.max_tokens, first.params) == (7, None, {"top_p": 0.5})
    assert config.price_multiplier["uniapi"] == Decimal("0.8")
    assert config.price_overrides["uniapi/x"].cached_per_m == Decimal("0.5")


@pytest.mark.parametrize(
    ("raw", "conversation", "other"),
    [
        ({"conversation": GLM}, ["zai/glm-4.7"], names(DEFAULT_ROUTING)),
        ({"conversation": [GLM]}, ["zai/glm-4.7"], names(DEFAULT_ROUTING)),
        (
            {"conversation": {"provider": "uniapi", "model": "gpt-4o"}},
            ["uniapi/gpt-4o", "zai/glm-4.7-flash"],
            names(DEFAULT_ROUTING),
        ),
        (
            {"provider": "uniapi", "model": "gpt-4o"},
            ["uniapi/gpt-4o", "zai/glm-4.7-flash"],
            ["uniapi/gpt-4o", "zai/glm-4.7-flash"],
        ),
        ({"default": GLM}, ["zai/glm-4.7"], ["zai/glm-4.7"]),
        ({"tasks": {"conversation": [GEMINI]}}, ["uniapi/gemini-3-flash-preview"], names(DEFAULT_ROUTING)),
        ({}, names(DEFAULT_ROUTING), names(DEFAULT_ROUTING)),
    ],
)
def test_short_forms_are_understood(raw: object, conversation: list[str], other: list[str]) -> None:
    for form in (raw, json.dumps(raw)):
        config = parse_routing(form, KNOWN)
        assert names(config) == conversation
        assert names(config, "summary") == other


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("{not json", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ([GEMINI], "not a JSON object"),
        (5, "not a JSON object"),
        ({"default": []}, "default"),
        ({"default": [{"provider": "uniapi"}]}, "default.0.model"),
        ({"default": [{**GEMINI, "temprature": 1}]}, "temprature"),
        ({"default": [{**GEMINI, "timeout_seconds": 0}]}, "timeout_seconds"),
        ({"default": [{**GEMINI, "max_tokens": "many"}]}, "max_tokens"),
        ({"default": [{**GEMINI, "model": "  "}]}, "model"),
        ({"default": [{**GEMINI, "params": {"stream": True}}]}, "may not hold stream"),
        ({"default": [{**GEMINI, "provider": "openai"}]}, "Known providers are: uniapi, zai"),
        ({"tasks": {"conversation": [{**GEMINI, "provider": "openai"}]}}, "'openai'"),
        ({"default": [{**GLM, "params": {"presence_penalty": 1}}]}, "Z.ai does not take presence_penalty"),
        ({"default": [GEMINI], "conversation": [GLM]}, "Put routes of a task under"),
        ({"conversation": "zai"}, "tasks.conversation"),
        ({"price_multiplier": {"uniapi": -1}}, "price_multiplier.uniapi"),
        ({"price_multiplier": {"uniapi": "1e999"}}, "price_multiplier.uniapi"),
        ({"price_overrides": {"uniapi/m": {"input_per_m": 1, "output_per_m": "1e999"}}}, "output_per_m"),
        ({"price_multiplier": {"openai": 1}}, "'openai'"),
        ({"price_overrides": {"gpt-4o": {"input_per_m": 1, "output_per_m": 1}}}, "'gpt-4o'"),
        ({"price_overrides": {"uniapi/gpt-4o": {"input_per_m": 1}}}, "output_per_m"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(raw: object, words: str) -> None:
    with pytest.raises(RoutingError) as caught:
        parse_routing(raw, KNOWN)
    assert words in str(caught.value)
    assert caught.value.remedy
