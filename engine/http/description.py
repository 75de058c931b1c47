"""The HTTP API's own description (OpenAPI): what FastAPI reads off the routes, made exact.

The guards in front of the application, and its own handlers of errors, answer too; each operation tells of those.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from starlette.routing import BaseRoute, Match

from engine import __version__


class Refusal(BaseModel):
    """The body of every answer that refuses."""

    detail: str


WORDS = {
    400: "The request cannot be read, or its Host is not served here",
    401: "Who asks is not known: the token, the secret or the signature is missing or wrong",
    403: "Nobody is let in here: no webhook secret is configured, or the challenge's token is wrong",
    404: "There is no such thing",
    405: "The method is not answered here; `Allow` tells which are",
    408: "The body took too long",
    413: "The body is larger than 3 MiB",
    415: "Compressed bodies are not taken",
    500: "A fault of the engine; its log tells",
    503: "Not now: the database or the memory for bodies is in trouble. Send it again",
}
BY_GUARDS = (400, 408, 413, 415, 500, 503)
"""What any operation may be answered with before the application sees it, or when it breaks."""
REFUSAL = {"application/json": {"schema": {"$ref": "#/components/schemas/Refusal"}}}
METHODS = frozenset({"get", "head", "post", "put", "patch", "delete", "options", "trace"})


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for its `responses`."""
    return {status: {"description": WORDS[status], "content": REFUSAL} for status in statuses}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of everything `app` serves now."""
    document = get_openapi(
        title="Switchboard",
        version=__version__,
        description="Health, metrics, explanations and webhooks of one engine.",
        routes=app.routes,
    )
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Refusal"] = Refusal.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's own; ours is a 400
        schemas.pop(unused, None)
    for path in document["paths"].values():
        for method in METHODS & path.keys():
            responses = path[method]["responses"]
            responses.pop("422", None)
            for status in BY_GUARDS:
                responses.setdefault(str(status), answers(status)[status])
            if method == "head":
                path[method]["responses"] = {
                    status: {"description": told["description"]} for status, told in responses.items()
                }
    return document


def allowed_methods(request: Request) -> str:
    """The `Allow` header of a path: the methods of all its routes, not of the first alone."""
    routes: list[BaseRoute] = request.app.routes
    scopes = {name.upper(): {**request.scope, "method": name.upper()} for name in METHODS}
    found = (
        method
        for method, scope in scopes.items()
        if any(route.matches(scope)[0] is Match.FULL for route in routes)
    )
    return ", ".join(sorted(found))
