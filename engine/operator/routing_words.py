"""A routing in words, for people who check what they have written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
        cached = "" if price.cached_per_m is None else f", cached ${price.cached_per_m:g}"
        lines.append(
            f"{key} costs ${price.input_per_m:g} in{cached}, ${price.output_per_m:g} out per 1M tokens"
        )
    return lines


def _order(routes: list[Route]) -> str:
    return ", then ".join(f"{route.provider} {route.model}{_parameters(route)}" for route in routes)


def _parameters(route: Route) -> str:
    """What differs from the defaults."""
    given = route.model_dump(exclude_defaults=True, exclude={"provider", "model"})
    names = {"timeout_seconds": "timeout", "max_tokens": "at most", "temperature": "temperature"}
    words = []
    for name, value in given.items():
        unit = {"timeout_seconds": " s", "max_tokens": " tokens"}.get(name, "")
        told = "none" if value is None else f"{value:g}{unit}" if isinstance(value, int | float) else value
        words.append(f"{names.get(name, name)} {told}")
    return f" ({', '.join(words)})" if words else ""
