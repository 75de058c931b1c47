"""Which provider and model answers a task: the platform setting `llm_routing_config`.

    {"default": [{"provider": "uniapi", "model": "gemini-3-flash-preview"}, {"provider": "zai", …}],
     "tasks": {"conversation": [{"provider": "zai", "model": "glm-4.7"}]},
     "price_multiplier": {"uniapi": 0.8},
     "price_overrides": {"uniapi/gpt-4o": {"input_per_m": 2, "cached_per_m": 1, "output_per_m": 8}}}

Routes are tried in order. A list is taken as it stands. A single route in place of a list is followed
by the fallback of the default routing, unless it names that provider itself. Two short forms are
understood: `{"provider": …, "model": …}` for all tasks, and `{"conversation": {…}}` for tasks by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from engine.llm.pricing import PriceOverride
from engine.model import SwitchboardError

#: Body fields the router itself decides, or that must not be sent: no streams.
RESERVED_PARAMS = frozenset({"model", "messages", "max_tokens", "temperature", "n", "stream"})
#: How far ends let a model act or search, at whatever depth of the body: the model has no tools.
TOOL_PARAMS = frozenset(
    {
        *("tools", "tool_choice", "tool_config", "functions", "function_call", "function_declarations"),
        *("plugins", "mcp_servers", "extensions", "code_interpreter", "code_execution"),
        *("web_search", "web_search_options", "search_parameters", "enable_search", "search_options"),
        *("google_search", "google_search_retrieval", "url_context"),
    }
)
#: What Z.ai does not take.
ZAI_REFUSED_PARAMS = frozenset({"frequency_penalty", "presence_penalty", "stream_options"})

REMEDY = (
    'Write it like {"default": [{"provider": "uniapi", "model": "gemini-3-flash-preview"}]}; '
    "until then the last good routing stays in force."
)


def _names(value: Any) -> Iterator[str]:
    """Every name in a JSON value, in lower case and with one spelling of `googleSearch` and `google-search`."""
    left = [value]
    while left:
        here = left.pop()
        if isinstance(here, dict):
            yield from (re.sub(r"(?<=[a-z])(?=[A-Z])|-", "_", str(name)).lower() for name in here)
            left += here.values()
        elif isinstance(here, list):
            left += here


class RoutingError(SwitchboardError):
    """A routing that cannot be used, and why."""


class Route(BaseModel):
    """One provider and model to ask, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)

    provider: str = Field(min_length=1)
    model: str = Field(min_length=1, max_length=200)
    timeout_seconds: float = Field(default=20.0, gt=0, le=300)
    """Of one call; the turn's deadline may leave less."""
    max_tokens: int | None = Field(default=1024, ge=1, le=131_072)
    temperature: float | None = Field(default=0.3, ge=0, le=2)
    params: dict[str, Any] = Field(default_factory=dict)
    """Further body fields, e.g. `{"thinking": {"type": "enabled"}}`; null takes a default field out."""

    @field_validator("params")
    @classmethod
    def _not_reserved(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := (RESERVED_PARAMS & value.keys()) | (TOOL_PARAMS & set(_names(value))):
            raise ValueError(f"may not hold {', '.join(sorted(taken))}")
        return value


Routes = Annotated[list[Route], Field(min_length=1)]


class RoutingConfig(BaseModel):
    """The routing in force. Build it with `parse_routing`, which knows the providers and the short forms."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    default: Routes
    tasks: dict[str, Routes] = Field(default_factory=dict)
    price_multiplier: dict[str, Annotated[Decimal, Field(ge=0, le=1000)]] = Field(default_factory=dict)
    """By provider: list price × this = what it charges."""
    price_overrides: dict[str, PriceOverride] = Field(default_factory=dict)
    """By "provider/model": what is really paid."""

    def routes(self, task: str) -> list[Route]:
        """The routes of a task, in the order they are tried."""
        return self.tasks.get(task, self.default)


DEFAULT_ROUTING = RoutingConfig(
    default=[
        Route(provider="uniapi", model="gemini-3-flash-preview"),
        Route(provider="zai", model="glm-4.7-flash"),
    ]
)


def parse_routing(raw: object, providers: Collection[str]) -> RoutingConfig:
    """The routing that `raw` (JSON text or what it parses to) asks for; None is the default routing.

    Raises RoutingError naming what is wrong. `providers` are the names that routes may use.
    """
    value = _json(raw)
    if value is None:
        return DEFAULT_ROUTING
    if not isinstance(value, dict):
        raise RoutingError("llm_routing_config is not a JSON object.", REMEDY)
    try:
        config = RoutingConfig.model_validate(_spelled_out(value))
    except ValidationError as error:
        raise RoutingError(f"llm_routing_config: {_first_problem(error)}.", REMEDY) from None
    _check_names(config, providers)
    return config


def _json(raw: object) -> object:
    if not isinstance(raw, str | bytes):
        return raw
    if not raw.strip():
        return None
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RoutingError(f"llm_routing_config is not JSON: {reason}.", REMEDY) from None


def _spelled_out(value: dict[str, Any]) -> dict[str, Any]:
    """The full form of a short one. Raises RoutingError for a mixture of both."""
    if "provider" in value or "model" in value:
        return {"default": _route_list(value)}
    fields = RoutingConfig.model_fields.keys()
    known = {name: item for name, item in value.items() if name in fields}
    others = {name: item for name, item in value.items() if name not in fields}
    if known and others:
        raise RoutingError(
            f"llm_routing_config does not know {', '.join(map(repr, sorted(others)))}.",
            'Put routes of a task under "tasks", e.g. {"tasks": {"conversation": […]}}.',
        )
    full = {"tasks": others} if others else known
    if isinstance(tasks := full.get("tasks"), dict):
        full = {**full, "tasks": {task: _route_list(item) for task, item in tasks.items()}}
    default = full.get("default")
    return {**full, "default": _route_list(default) if default is not None else DEFAULT_ROUTING.default}


def _route_list(item: Any) -> Any:
    """A list as it is; a single route with the default routing's fallback behind it."""
    if not isinstance(item, dict):
        return item
    fallbacks = [route for route in DEFAULT_ROUTING.default[1:] if route.provider != item.get("provider")]
    return [item, *fallbacks]


def _check_names(config: RoutingConfig, providers: Collection[str]) -> None:
    known = ", ".join(sorted(providers))
    for route in (*config.default, *(r for routes in config.tasks.values() for r in routes)):
        if route.provider not in providers:
            raise RoutingError(
                f"llm_routing_config names the provider {route.provider!r}, which does not exist.",
                f"Known providers are: {known}.",
            )
        if route.provider == "zai" and (refused := ZAI_REFUSED_PARAMS & route.params.keys()):
            raise RoutingError(
                f"Z.ai does not take {', '.join(sorted(refused))}.",
                f"Take it out of the route {route.model!r}.",
            )
    for name in (*config.price_multiplier, *(key.partition("/")[0] for key in config.price_overrides)):
        if name not in providers:
            raise RoutingError(
                f"llm_routing_config has a price for the provider {name!r}, which does not exist.",
                f'Prices are keyed "provider" or "provider/model"; known providers are: {known}.',
            )


def _first_problem(error: ValidationError) -> str:
    item = error.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(map(str, item['loc']))}: {item['msg']}"
