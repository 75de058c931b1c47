"""The routing as fields to fill in: texts by task and route, and what is wrong with each.

A routing is taken apart by `take_apart`, changed row by row, and put together by `put_together`. Texts are what a
person types; nothing is lost on the way: what is left as it is comes back as it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from engine.figures import exact
from engine.model import PROVIDERS as PROVIDERS
from engine.operator.audit import BadInput
from engine.operator.configuration import check_routing
from engine.text import clean_json

if TYPE_CHECKING:
    from engine.llm.routing import Route

DEFAULT = "default"
"""The routes of every task that has none of its own."""
TASKS = ("conversation", "doctor")
"""What the engine asks models for. Drafts, dry runs and what-ifs are conversations."""
ROUTE_FIELDS = ("provider", "model", "timeout_seconds", "max_tokens", "temperature", "params")
OVERRIDE_FIELDS = ("model", "input_per_m", "cached_per_m", "output_per_m")
Texts = dict[str, str]
"""One row: what stands in each field."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a field."""

    row: int
    field: str
    message: str


@dataclass
class RoutingFields:
    """A routing in rows of texts."""

    tasks: dict[str, list[Texts]]
    """By task, `default` first; each route has `ROUTE_FIELDS`."""
    multipliers: Texts = field(default_factory=dict)
    """By provider: list price × this = what it charges."""
    overrides: list[Texts] = field(default_factory=list)
    """`OVERRIDE_FIELDS`: `provider/model`, and USD per million tokens."""


def take_apart(value: Any) -> RoutingFields:
    """A routing (JSON text, or what it parses to) as fields. Raises BadInput when it cannot be used."""
    from engine.llm.routing import RoutingError, parse_routing

    try:
        config = parse_routing(value, PROVIDERS)
    except RoutingError as error:
        raise BadInput(error.what, error.remedy) from None
    routes = {DEFAULT: config.default, **config.tasks}
    return RoutingFields(
        {task: [_texts(route) for route in found] for task, found in routes.items()},
        {name: f"{factor:f}" for name, factor in config.price_multiplier.items()},
        [
            {
                "model": key,
                "input_per_m": f"{price.input_per_m:f}",
                "cached_per_m": "" if price.cached_per_m is None else f"{price.cached_per_m:f}",
                "output_per_m": f"{price.output_per_m:f}",
            }
            for key, price in config.price_overrides.items()
        ],
    )


def put_together(fields: RoutingFields) -> dict[str, Any]:
    """The routing these fields ask for, as it would be stored. Raises BadInput for what is wrong first."""
    tasks: dict[str, list[Any]] = {}
    for task, texts in fields.tasks.items():
        tasks[task], problems = read_routes(texts)
        _refuse(problems, f"routes of {task}")
    multipliers, problems = read_multipliers(fields.multipliers)
    _refuse(problems, "price multipliers")
    overrides, problems = read_overrides(fields.overrides)
    _refuse(problems, "prices")
    value: dict[str, Any] = {DEFAULT: tasks.pop(DEFAULT)}
    parts = {"tasks": tasks, "price_multiplier": multipliers, "price_overrides": overrides}
    value |= {name: part for name, part in parts.items() if part}
    checked: dict[str, Any] = check_routing(value)
    return checked


def new_route(provider: str = "", model: str = "") -> Texts:
    """A row with the values a route has by itself."""
    from engine.llm.routing import Route

    filled = _texts(Route(provider=provider or PROVIDERS[0], model=model or "m"))
    return {**filled, "provider": provider, "model": model}


def read_routes(rows: Sequence[Mapping[str, str]]) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Rows as routes, only what differs from a route's own values; or what is wrong with them."""
    routes, problems = [], []
    for number, row in enumerate(rows):
        route, found = _read_route(number, row)
        problems += found
        if route is not None:
            routes.append(route)
    if not rows:
        problems.append(Problem(0, "provider", "a task needs one route at least"))
    return routes, problems


def read_multipliers(texts: Mapping[str, str]) -> tuple[dict[str, float], list[Problem]]:
    """Price multipliers by provider; an empty one is none."""
    found, problems = {}, []
    for name, text in texts.items():
        if not text.strip():
            continue
        value = _number(text)
        if value is None or value < 0:
            problems.append(Problem(0, name, "a number from 0 on, like 0.8"))
        else:
            found[name] = value
    return found, problems


def read_overrides(
    rows: Sequence[Mapping[str, str]],
) -> tuple[dict[str, dict[str, float]], list[Problem]]:
    """Prices by `provider/model`, in USD per million tokens; cached input may be left empty."""
    found: dict[str, dict[str, float]] = {}
    problems = []
    for number, row in enumerate(rows):
        key = row["model"].strip()
        provider, slash, model = key.partition("/")
        if provider not in PROVIDERS or not slash or not model:
            problems.append(Problem(number, "model", f"write {' or '.join(f'{p}/MODEL' for p in PROVIDERS)}"))
        elif key in found:
            problems.append(Problem(number, "model", "this model has a price above already"))
        prices = {}
        for name in OVERRIDE_FIELDS[1:]:
            text = row.get(name, "").strip()
            value = _number(text)
            if value is not None and value >= 0:
                prices[name] = value
            elif text or name != "cached_per_m":
                problems.append(Problem(number, name, "US dollars per million tokens, like 0.25"))
        found[key] = prices
    return found, problems


def _texts(route: Route) -> Texts:
    return {
        "provider": route.provider,
        "model": route.model,
        "timeout_seconds": exact(route.timeout_seconds),
        "max_tokens": "" if route.max_tokens is None else str(route.max_tokens),
        "temperature": "" if route.temperature is None else exact(route.temperature),
        "params": json.dumps(route.params, ensure_ascii=False) if route.params else "",
    }


def _read_route(number: int, row: Mapping[str, str]) -> tuple[dict[str, Any] | None, list[Problem]]:
    from engine.llm.routing import ZAI_REFUSED_PARAMS, Route

    given: dict[str, Any] = {name: row.get(name, "").strip() for name in ROUTE_FIELDS}
    problems = []
    for name in ("max_tokens", "temperature"):
        given[name] = given[name] or None
    if not given["timeout_seconds"]:
        del given["timeout_seconds"]
    try:
        given["params"] = json.loads(given["params"] or "{}", parse_constant=_no_constant)
    except (ValueError, RecursionError):
        problems.append(Problem(number, "params", 'not JSON; write it like {"top_p": 0.9}'))
        given["params"] = {}
    if given["provider"] not in PROVIDERS:
        problems.append(Problem(number, "provider", f"one of {', '.join(PROVIDERS)}"))
    try:
        route = Route.model_validate(given)
    except ValidationError as error:
        for item in error.errors(include_input=False, include_url=False):
            name = str(item["loc"][0])
            if not any(problem.field == name for problem in problems):
                problems.append(Problem(number, name, _plain(name, item)))
        return None, problems
    if route.provider == "zai" and (refused := ZAI_REFUSED_PARAMS & route.params.keys()):
        problems.append(Problem(number, "params", f"Z.ai does not take {', '.join(sorted(refused))}"))
    kept = route.model_dump(mode="json", exclude_defaults=True)
    return clean_json(kept), problems


def _plain(name: str, item: Any) -> str:
    """A validator's complaint in plain words."""
    words = {
        "timeout_seconds": "seconds, more than 0 and at most 300",
        "max_tokens": "a whole number from 1 to 131072, or nothing for no limit",
        "temperature": "a number from 0 to 2, or nothing for the model's own",
        "model": "the model's name, of 1 to 200 characters",
    }
    return words.get(name) or str(item["msg"]).removeprefix("Value error, ")


def _refuse(problems: Sequence[Problem], where: str) -> None:
    for problem in problems:
        raise BadInput(
            f"The {where}, row {problem.row + 1}, {problem.field}: {problem.message}.",
            "Correct it; what was in force stays in force.",
        )


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value - value == 0 else None  # neither inf nor nan


def _no_constant(name: str) -> Any:
    raise ValueError(name)
