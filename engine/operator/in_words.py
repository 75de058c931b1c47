"""Routings and policies in words and as text to edit, for people who check what they have written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from engine.operator.agent_versions import check_policy, check_prompt
from engine.operator.audit import BadInput
from engine.operator.configuration import PROVIDERS

if TYPE_CHECKING:
    from engine.llm.routing import Route


def routing_words(value: Any) -> list[str]:
    """One line for each task, then the prices; `value` is JSON text or what it parses to. Raises BadInput."""
    from engine.llm.routing import RoutingError, parse_routing

    try:
        config = parse_routing(value, PROVIDERS)
    except RoutingError as error:
        raise BadInput(error.what, error.remedy) from None
    others = "every other task" if config.tasks else "every task"
    lines = [f"{task}: {_order(routes)}" for task, routes in config.tasks.items()]
    lines.append(f"{others}: {_order(config.default)}")
    lines += [
        f"{name} charges {factor:g} × the list price" for name, factor in config.price_multiplier.items()
    ]
    for key, price in config.price_overrides.items():
        cached = "" if price.cached_per_m is None else f", cached ${float(price.cached_per_m):g}"
        costs = f"${float(price.input_per_m):g} in{cached}, ${float(price.output_per_m):g} out"
        lines.append(f"{key} costs {costs} per 1M tokens")
    return lines


def _order(routes: list[Route]) -> str:
    return ", then ".join(f"{route.provider} {route.model}{_parameters(route)}" for route in routes)


def _parameters(route: Route) -> str:
    """What differs from the defaults."""
    given = route.model_dump(exclude_defaults=True, exclude={"provider", "model"})
    names = {"timeout_seconds": "timeout", "max_tokens": "at most", "params": "with"}
    words = []
    for name, value in given.items():
        unit = {"timeout_seconds": " s", "max_tokens": " tokens"}.get(name, "")
        if value is None:
            told = "no limit" if name == "max_tokens" else "the model's own"
        else:
            told = (
                f"{value:g}{unit}"
                if isinstance(value, int | float)
                else json.dumps(value, ensure_ascii=False)
            )
        words.append(f"{names.get(name, name)} {told}")
    return f" ({', '.join(words)})" if words else ""


def routing_text(value: Any) -> str:
    """A routing as JSON to edit; where none is set, the default one."""
    from engine.llm.routing import DEFAULT_ROUTING

    if value is None:
        value = {"default": [route.model_dump(exclude_defaults=True) for route in DEFAULT_ROUTING.default]}
    return json.dumps(value, indent=2, ensure_ascii=False)


def policy_text(policy: dict[str, Any]) -> str:
    """A policy as JSON to edit, every rule with its default where it has none of its own."""
    from engine.runtime.policy import AgentPolicy

    return json.dumps({**AgentPolicy().model_dump(mode="json"), **policy}, indent=2, ensure_ascii=False)


def parse_policy(text: str) -> dict[str, Any]:
    """What was typed as a policy. Raises BadInput."""
    try:
        value = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise BadInput(f"That is not JSON: {error}.", "Correct it at that place.") from None
    return check_policy(value)


def policy_words(text: str) -> list[str]:
    """A policy as typed: what it does other than the defaults. Raises BadInput."""
    from engine.runtime.policy import AgentPolicy

    defaults = AgentPolicy().model_dump(mode="json")
    policy = parse_policy(text)
    own = {key: value for key, value in policy.items() if value != defaults.get(key)}
    if not own:
        return ["the defaults"]
    return [f"{key} {json.dumps(value, ensure_ascii=False)}" for key, value in own.items()]


def prompt_words(text: str) -> list[str]:
    """How long a prompt is. Raises BadInput."""
    prompt = check_prompt(text)
    return [f"{len(prompt):,} characters, about {max(1, len(prompt) // 4):,} tokens of every turn"]
