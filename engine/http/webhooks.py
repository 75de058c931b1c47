"""Webhooks: `POST /webhooks/{channel}[/{account}[/{secret}[/{event}]]]`, and Meta's challenge by GET.

A body is authenticated and parsed by its channel, stored, committed, and only then answered with 200; a
database in trouble answers 503, and the far end sends it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import psycopg
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from engine.arrivals import store_arrivals
from engine.channels.base import DEFAULT_ACCOUNT, ChallengedChannel, Channel, Parsed, WebhookRefused
from engine.channels.registry import ChannelRegistry, ChannelUnknown
from engine.database.connection import Pool
from engine.http.description import answers
from engine.logs import get_logger

log = get_logger(__name__)
#: The URL says whatsapp, as Meta's own pages do.
CHANNEL_OF = {"whatsapp": "whatsapp_cloud"}
Segment = Annotated[str, Path(max_length=200)]
WHY_REFUSED = {
    401: "the signature or the secret is missing or wrong",
    403: "the challenge's token is wrong, or no webhook secret is configured here",
    404: "no such channel, account or webhook",
    503: "not stored; send it again",
}
"""Said to whoever asks; what exactly is wrong is in the log alone."""
TAKES: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {"description": "Stored, be it in quarantine"},
        **answers(400, 401, 403, 404, 503),
    },
    "openapi_extra": {
        "requestBody": {
            "description": "What the channel's far end sends, authenticated as it does that.",
            "content": {"application/json": {"schema": {}}},
        }
    },
}
CHALLENGES: dict[str, Any] = {
    "response_class": PlainTextResponse,
    "responses": {200: {"description": "The challenge"}, **answers(400, 403, 404)},
    "openapi_extra": {
        "parameters": [
            {"name": f"hub.{name}", "in": "query", "required": False, "schema": {"type": "string"}}
            for name in ("mode", "verify_token", "challenge")
        ]
    },
}


def build_webhooks(
    pool: Pool, channels: ChannelRegistry, *, on_news: Callable[[Channel, Parsed], None] = lambda *_: None
) -> APIRouter:
    """The routes of every channel that takes webhooks. `on_news` hears of each body that is stored."""
    router = APIRouter(prefix="/webhooks")

    async def receive(request: Request, name: str, account: str, secret: str | None) -> Response:
        channel = _find(channels, name, account)
        if channel is None:
            return _refusal(404)
        try:
            parsed = channel.parse_webhook(
                channel.account, request.headers, await request.body(), path_secret=secret
            )
        except WebhookRefused as refused:
            log.warning(
                "webhook.refused", channel=name, account=account, status=refused.status, why=refused.reason
            )
            return _refusal(refused.status)
        try:
            arrived = await store_arrivals(pool, channel, parsed)
        except (psycopg.Error, OSError) as error:
            log.error("webhook.not_stored", channel=name, account=account, error=str(error))
            return _refusal(503, {"Retry-After": "5"})
        on_news(channel, parsed)
        log.debug("webhook.stored", channel=name, account=account, messages=arrived.messages)
        return Response(status_code=200)

    def challenge(request: Request, name: str, account: str) -> Response:
        channel = _find(channels, name, account)
        if not isinstance(channel, ChallengedChannel):
            return _refusal(404)
        try:
            return Response(channel.answer_challenge(request.query_params), media_type="text/plain")
        except WebhookRefused as refused:
            return _refusal(refused.status)

    @router.post("/{name}", operation_id="webhook_post", **TAKES)
    async def post(request: Request, name: Segment) -> Response:
        """A channel's news, for its default account."""
        return await receive(request, name, DEFAULT_ACCOUNT, None)

    @router.post("/{name}/{account}", operation_id="webhook_post_account", **TAKES)
    async def post_account(request: Request, name: Segment, account: Segment) -> Response:
        """A channel's news, for a named account."""
        return await receive(request, name, account, None)

    @router.post("/{name}/{account}/{secret}", operation_id="webhook_post_secret", **TAKES)
    async def post_secret(request: Request, name: Segment, account: Segment, secret: Segment) -> Response:
        """The same from a far end that cannot sign: the path holds the secret."""
        return await receive(request, name, account, secret)

    @router.post("/{name}/{account}/{secret}/{event}", operation_id="webhook_post_event", **TAKES)
    async def post_event(
        request: Request, name: Segment, account: Segment, secret: Segment, event: Segment
    ) -> Response:
        """Evolution appends the event's name when "webhook by events" is on."""
        return await receive(request, name, account, secret)

    @router.get("/{name}", operation_id="webhook_challenge", **CHALLENGES)
    async def get(request: Request, name: Segment) -> Response:
        """Meta's challenge, for the default account."""
        return challenge(request, name, DEFAULT_ACCOUNT)

    @router.get("/{name}/{account}", operation_id="webhook_challenge_account", **CHALLENGES)
    async def get_account(request: Request, name: Segment, account: Segment) -> Response:
        """Meta's challenge, for a named account."""
        return challenge(request, name, account)

    return router


def _refusal(status: int, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"detail": WHY_REFUSED[status]}, status_code=status, headers=headers)


def _find(channels: ChannelRegistry, name: str, account: str) -> Channel | None:
    try:
        channel = channels.get(CHANNEL_OF.get(name, name), account)
    except ChannelUnknown:
        return None
    return channel if channel.capabilities.webhook else None
