"""Webhooks: `POST /webhooks/{channel}[/{account}[/{secret}[/{event}]]]`, and Meta's challenge by GET.

A body is authenticated and parsed by its channel, stored, committed, and only then answered with 200; a
database in trouble answers 503, and the far end sends it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import psycopg
from fastapi import APIRouter, Path, Request, Response

from engine.arrivals import store_arrivals
from engine.channels.base import DEFAULT_ACCOUNT, ChallengedChannel, Channel, Parsed, WebhookRefused
from engine.channels.registry import ChannelRegistry, ChannelUnknown
from engine.database.connection import Pool
from engine.logs import get_logger

log = get_logger(__name__)
#: The URL says whatsapp, as Meta's own pages do.
CHANNEL_OF = {"whatsapp": "whatsapp_cloud"}
Segment = Annotated[str, Path(max_length=200)]


def build_webhooks(
    pool: Pool, channels: ChannelRegistry, *, on_news: Callable[[Channel, Parsed], None] = lambda *_: None
) -> APIRouter:
    """The routes of every channel that takes webhooks. `on_news` hears of each body that is stored."""
    router = APIRouter(prefix="/webhooks")

    async def receive(request: Request, name: str, account: str, secret: str | None) -> Response:
        channel = _find(channels, name, account)
        if channel is None:
            return Response(status_code=404)
        try:
            parsed = channel.parse_webhook(
                channel.account, request.headers, await request.body(), path_secret=secret
            )
        except WebhookRefused as refused:
            log.warning(
                "webhook.refused", channel=name, account=account, status=refused.status, why=refused.reason
            )
            return Response(status_code=refused.status)
        try:
            arrived = await store_arrivals(pool, channel, parsed)
        except (psycopg.Error, OSError) as error:
            log.error("webhook.not_stored", channel=name, account=account, error=str(error))
            return Response(status_code=503, headers={"Retry-After": "5"})
        on_news(channel, parsed)
        log.debug("webhook.stored", channel=name, account=account, messages=arrived.messages)
        return Response(status_code=200)

    def challenge(request: Request, name: str, account: str) -> Response:
        channel = _find(channels, name, account)
        if not isinstance(channel, ChallengedChannel):
            return Response(status_code=404)
        try:
            return Response(channel.answer_challenge(request.query_params), media_type="text/plain")
        except WebhookRefused as refused:
            return Response(status_code=refused.status)

    @router.post("/{name}")
    async def post(request: Request, name: Segment) -> Response:
        return await receive(request, name, DEFAULT_ACCOUNT, None)

    @router.post("/{name}/{account}")
    async def post_account(request: Request, name: Segment, account: Segment) -> Response:
        return await receive(request, name, account, None)

    @router.post("/{name}/{account}/{secret}")
    async def post_secret(request: Request, name: Segment, account: Segment, secret: Segment) -> Response:
        return await receive(request, name, account, secret)

    @router.post("/{name}/{account}/{secret}/{event}")
    async def post_event(
        request: Request, name: Segment, account: Segment, secret: Segment, event: Segment
    ) -> Response:
        """Evolution appends the event's name when "webhook by events" is on."""
        return await receive(request, name, account, secret)

    @router.get("/{name}")
    async def get(request: Request, name: Segment) -> Response:
        return challenge(request, name, DEFAULT_ACCOUNT)

    @router.get("/{name}/{account}")
    async def get_account(request: Request, name: Segment, account: Segment) -> Response:
        return challenge(request, name, account)

    return router


def _find(channels: ChannelRegistry, name: str, account: str) -> Channel | None:
    try:
        channel = channels.get(CHANNEL_OF.get(name, name), account)
    except ChannelUnknown:
        return None
    return channel if channel.capabilities.webhook else None
