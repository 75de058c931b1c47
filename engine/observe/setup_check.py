"""Whether a language model or a channel account works with given settings: its far end is really asked."""

from __future__ import annotations

from engine.channels.registry import build_channels
from engine.llm.router import build_router
from engine.observe.doctor import LOOK, component_check, provider_check
from engine.observe.doctor_database import Check as Check
from engine.settings import Settings


async def check_provider(settings: Settings, provider: str) -> Check:
    """One short question to the provider. Never raises for trouble."""
    router = build_router(settings)
    try:
        component = next(one for one in router.health() if one.name == provider)
        return await provider_check(router, component)
    finally:
        await router.aclose()


async def check_account(settings: Settings, channel: str, account: str) -> Check:
    """Asks the account's far end how it is; nothing is sent to anybody. Never raises for trouble."""
    registry = build_channels(settings)
    try:
        health = await registry.get(channel, account).health()
        return component_check(health, health.blocker.remedy if health.blocker else LOOK)
    finally:
        await registry.aclose()
