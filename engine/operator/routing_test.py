"""Test calls: each route of a routing is asked once, alone, before the routing goes live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Pool, fetch
from engine.database.directory import load_directory
from engine.model import LLMMessage
from engine.operator.audit import BadInput, Operator, Refused, acting, audit, rows
from engine.operator.configuration import PROVIDERS
from engine.operator.rehearsal import check_budget
from engine.settings import Settings
from engine.text import one_line

if TYPE_CHECKING:
    from engine.llm.router import Router
    from engine.llm.routing import Route, RoutingConfig

QUESTION = "This is a test of the line. Answer with the single word: ready"
SECONDS = 30.0
"""A route's own timeout counts where it is less."""
ANSWER_LIMIT = 500
TASK = "test_call"


class RouteResult(BaseModel):
    """What became of one route's call."""

    model_config = ConfigDict(frozen=True)

    provider: str
    model: str
    tasks: tuple[str, ...]
    """Those that use the route; `default` among them."""
    ok: bool
    answer: str = ""
    latency_ms: int
    """Of all calls made for it."""
    calls: int
    """0: not called, for want of a key."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_usd: Decimal | None = None
    """None when the price is unknown."""
    failure: str | None = None
    error: str | None = None


async def try_routing(
    pool: Pool,
    operator: Operator,
    settings: Settings,
    routing: Any,
    *,
    on_result: Callable[[RouteResult], None] = lambda _: None,
    router: Router | None = None,
) -> list[RouteResult]:
    """Ask every route of `routing` (JSON text, or what it parses to) once.

    The calls are real; what they cost is usage of the first tenant, and counts in its budget. Raises BadInput for
    a routing that cannot be used, OutOfMoney when that budget is spent, ReadOnly.
    """
    from engine.llm.router import build_router
    from engine.llm.routing import RoutingError, parse_routing

    operator.may_act()
    try:
        config = parse_routing(routing, PROVIDERS)
    except RoutingError as error:
        raise BadInput(error.what, error.remedy) from None
    tenant_id = await _payer(pool, settings)
    asked = router or build_router(settings)

    async def ask(route: Route, tasks: tuple[str, ...]) -> RouteResult:
        result = await _ask(asked, config, route, tasks)
        on_result(result)
        return result

    try:
        results = list(await asyncio.gather(*(ask(route, tasks) for route, tasks in distinct_routes(config))))
    finally:
        if router is None:
            await asked.aclose()
    after = {"routes": [result.model_dump(mode="json", exclude={"answer"}) for result in results]}
    async with acting(pool, operator) as connection:
        for result in results:
            if result.prompt_tokens is not None or result.cost_usd is not None:
                await fetch(
                    connection,
                    "add_usage",
                    tenant_id,
                    TASK,
                    result.provider,
                    result.model,
                    result.prompt_tokens,
                    result.completion_tokens,
                    result.cost_usd,
                )
        await audit(connection, operator, "routing.test", "setting:llm_routing_config", None, after)
    return results


async def _payer(pool: Pool, settings: Settings) -> int:
    """The tenant that pays for test calls, which has money left today."""
    async with pool.connection() as connection:
        found = await rows(connection, "SELECT min(id) AS id FROM et_tenants")
        directory = await load_directory(connection)
    tenant_id: int | None = found[0]["id"]
    if tenant_id is None:
        raise Refused("There is no tenant to pay for the calls.", "Run: switchboard migrate")
    await check_budget(pool, directory, settings.daily_budget_usd, tenant_id)
    return tenant_id


def distinct_routes(config: RoutingConfig) -> list[tuple[Route, tuple[str, ...]]]:
    """Each provider and model once, as it is first named, with the tasks that use it."""
    found: dict[tuple[str, str], tuple[Route, list[str]]] = {}
    for task, routes in (("default", config.default), *config.tasks.items()):
        for route in routes:
            _, tasks = found.setdefault((route.provider, route.model), (route, []))
            if task not in tasks:
                tasks.append(task)
    return [(route, tuple(tasks)) for route, tasks in found.values()]


async def _ask(router: Router, config: RoutingConfig, route: Route, tasks: tuple[str, ...]) -> RouteResult:
    alone = config.model_copy(update={"default": [route], "tasks": {}})
    seconds = min(SECONDS, route.timeout_seconds)
    deadline = asyncio.get_running_loop().time() + seconds
    result = await router.complete(
        "default", [LLMMessage(role="user", content=QUESTION)], deadline=deadline, routing=alone
    )
    calls = [attempt for attempt in result.attempts if not attempt.skipped]
    usage = result.usage
    return RouteResult(
        provider=route.provider,
        model=route.model,
        tasks=tasks,
        ok=result.text is not None,
        answer=one_line(result.text or "", ANSWER_LIMIT),
        latency_ms=sum(attempt.latency_ms for attempt in calls),
        calls=len(calls),
        prompt_tokens=usage.prompt_tokens if usage else None,
        completion_tokens=usage.completion_tokens if usage else None,
        cost_usd=result.cost_usd,
        failure=result.failure.value if result.failure else None,
        error=result.error,
    )
