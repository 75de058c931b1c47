"""Health over HTTP: `/api/v1/ready` for anyone; the rest for the holder of the admin token.

`/openapi.json` describes all of it, made from the routes themselves.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

import psycopg
from fastapi import Depends, FastAPI, HTTPException, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from engine.admin_token import admin_token as admin_token
from engine.database.connection import Pool
from engine.http.description import allowed_methods, answers, describe
from engine.http.guards import SECURITY_HEADERS, Guards
from engine.http.server import HttpError as HttpError
from engine.http.server import HttpServer as HttpServer
from engine.http.server import serve_http as serve_http
from engine.model import EngineSnapshot, SwitchboardError
from engine.observe.accounts import Account, balances
from engine.observe.explain import Explanation, NoMessage, explanation
from engine.observe.health import SystemHealth, readiness, system_health
from engine.observe.usage import Today, today
from engine.settings import Settings

READY_SECONDS = 1.0
"""How long an answer about readiness is good for: nobody can make the database work by asking often."""
NOT_READY_SECONDS = 0.1
"""The same for a refusal: who waits for a start learns of its end at once."""

USAGE_SECONDS = 3.0
BEARER = HTTPBearer(auto_error=False, scheme_name="admin_token", description="The administrator's token")


class Ready(BaseModel):
    """The answer of `GET /api/v1/ready`; why not is told to the administrator only."""

    status: Literal["ready", "not ready"]


class ReadyCache:
    """Asks once for all who ask at the same time."""

    def __init__(self, ask: Callable[[], Awaitable[bool]]) -> None:
        self._ask = ask
        self._lock = asyncio.Lock()
        self._answer = False
        self._until = 0.0

    async def __call__(self) -> bool:
        async with self._lock:
            if time.monotonic() >= self._until:
                self._answer = await self._ask()
                self._until = time.monotonic() + (READY_SECONDS if self._answer else NOT_READY_SECONDS)
            return self._answer


def build_api(
    pool: Pool, settings: Settings, snapshot: Callable[[], EngineSnapshot], admin_token: str
) -> FastAPI:
    """The application of an engine. Routers, such as the webhooks', are included by the caller.

    `snapshot` is asked with every request. There is no page of documentation and no CORS.
    """
    app = FastAPI(title="Switchboard", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guards, hosts=settings.allowed_hosts)
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(405, _wrong_method)
    app.add_exception_handler(Exception, _broken)
    administrator = Depends(_bearer(admin_token))

    async def is_ready() -> bool:
        ready, _ = await readiness(pool, snapshot())
        return ready

    cached = ReadyCache(is_ready)

    @app.head(
        "/api/v1/ready", operation_id="ready_head", summary="Ready, without a body", responses=answers(503)
    )
    @app.get("/api/v1/ready", operation_id="ready", responses={503: {"model": Ready}})
    async def ready(response: Response) -> Ready:
        """Whether messages are answered now."""
        if await cached():
            return Ready(status="ready")
        response.status_code = 503
        return Ready(status="not ready")

    @app.get(
        "/api/v1/platform/system-health",
        dependencies=[administrator],
        operation_id="system_health",
        responses=answers(401),
    )
    async def platform_system_health() -> SystemHealth:
        """Everything that stands in the way or soon will, engines, queues, providers, channels, the schema."""
        return await system_health(pool, local=snapshot())

    @app.get(
        "/api/v1/platform/messages/{message_id}/explanation",
        dependencies=[administrator],
        operation_id="explanation",
        responses=answers(400, 401, 404, 503),
    )
    async def platform_message_explanation(
        message_id: Annotated[int, Path(ge=1, le=2**63 - 1)],
    ) -> Explanation:
        """Why a message has no reply, and why this route, so slow, so dear."""
        try:
            return await explanation(pool, message_id)
        except NoMessage as error:
            raise HTTPException(404, str(error)) from None
        except SwitchboardError as error:
            raise HTTPException(503, str(error)) from None

    @app.get(
        "/metrics",
        dependencies=[administrator],
        operation_id="metrics",
        response_class=PlainTextResponse,
        responses=answers(401),
    )
    async def metrics() -> Response:
        """Figures in the text format of Prometheus."""
        from engine.http.metrics import CONTENT_TYPE, exposition

        mine = snapshot()
        health = await system_health(pool, local=mine)
        usage, accounts = (
            await _money(pool, settings) if health.schema_compatibility is not None else (None, ())
        )
        return Response(exposition(health, usage, accounts, mine), media_type=CONTENT_TYPE)

    @app.get("/openapi.json", dependencies=[administrator], operation_id="openapi", responses=answers(401))
    async def openapi() -> dict[str, Any]:
        """This description."""
        return describe(app)

    return app


async def _money(pool: Pool, settings: Settings) -> tuple[Today | None, tuple[Account, ...]]:
    """Today's usage and the balances; nothing when the database does not say: the blockers tell why."""
    try:
        async with asyncio.timeout(USAGE_SECONDS):
            return await today(pool, settings.daily_budget_usd), await balances(pool)
    except (psycopg.Error, TimeoutError, OSError):
        return None, ()


def _bearer(token: str) -> Callable[[HTTPAuthorizationCredentials | None], None]:
    """A dependency that lets only the holder of `token` through, in constant time."""
    expected = token.encode()

    def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> None:
        if given is None or not secrets.compare_digest(given.credentials.strip().encode(), expected):
            raise HTTPException(401, "the admin token is needed", headers={"WWW-Authenticate": "Bearer"})

    return check


async def _unreadable(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "the request cannot be read"}, status_code=400)


async def _wrong_method(request: Request, _error: Exception) -> JSONResponse:
    allowed = allowed_methods(request)
    return JSONResponse(
        {"detail": f"{request.method[:20]} is not answered here, only {allowed}"},
        status_code=405,
        headers={"Allow": allowed},
    )


async def _broken(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "internal error"}, status_code=500, headers=SECURITY_HEADERS)
