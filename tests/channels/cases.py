"""Every channel with its far end, in one shape, for the tests that hold all of them to the same rules."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from engine.channel_accounts import EvolutionAccount, TelegramAccount, WahaAccount, WhatsAppCloudAccount
from engine.channels.base import Channel
from engine.channels.evolution import AUTH_HEADER as EVOLUTION_HEADER
from engine.channels.evolution import EvolutionChannel
from engine.channels.simulator import SIGNATURE_HEADER as SIMULATOR_HEADER
from engine.channels.simulator import SimulatorChannel
from engine.channels.telegram import AUTH_HEADER as TELEGRAM_HEADER
from engine.channels.telegram import TelegramChannel
from engine.channels.waha import SIGNATURE_HEADER as WAHA_HEADER
from engine.channels.waha import WahaChannel
from engine.channels.webhook import signature
from engine.channels.whatsapp_cloud import SIGNATURE_HEADER as CLOUD_HEADER
from engine.channels.whatsapp_cloud import WhatsAppCloudChannel
from tests.support.far_ends import evolution, simulator, telegram, waha, whatsapp_cloud
from tests.support.far_ends.service import Service

BODIES = Path(__file__).parent / "bodies"
SECRET, PREVIOUS, RETIRED = "webhook-secret-now", "webhook-secret-before", "webhook-secret-retired"
_NOW, _BEFORE = SecretStr(SECRET), SecretStr(PREVIOUS)

Sign = Callable[[bytes, str], Mapping[str, str]]
"""Headers that authenticate a body under a secret."""


@dataclass(frozen=True)
class Case:
    """One channel under test."""

    name: str
    service: type[Service]
    build: Callable[[str], Channel]
    """The channel on a far end's base URL, with webhook secrets."""
    bare: Callable[[str], Channel]
    """The same without webhook secrets."""
    sign: Sign
    to: str
    arrives_at: str
    """`to` as the far end sees it."""
    secrets: tuple[str, ...]
    """What must never be told to anybody."""
    callback: bool = False
    """Whether the far end echoes our message id."""
    final: bool = False
    """Whether a good answer is final, or a receipt may still fail the message."""


def _hmac(header: str, algorithm: Any, prefix: str = "") -> Sign:
    return lambda raw, secret: {header: prefix + signature(raw, SecretStr(secret), algorithm)}


def _telegram(url: str, **secrets: Any) -> Channel:
    return TelegramChannel(TelegramAccount(bot_token=SecretStr(telegram.TOKEN), api_base=url, **secrets))


def _cloud(url: str, **secrets: Any) -> Channel:
    token = SecretStr(whatsapp_cloud.TOKEN)
    return WhatsAppCloudChannel(
        WhatsAppCloudAccount(token=token, phone_number_id=whatsapp_cloud.NUMBER_ID, graph_base=url, **secrets)
    )


def _waha(url: str, **secrets: Any) -> Channel:
    return WahaChannel(WahaAccount(base_url=url, api_key=SecretStr(waha.API_KEY), **secrets))


def _evolution(url: str, **secrets: Any) -> Channel:
    return EvolutionChannel(
        EvolutionAccount(
            base_url=url, api_key=SecretStr(evolution.API_KEY), instance=evolution.INSTANCE, **secrets
        )
    )


CASES = (
    Case(
        name="simulator",
        service=simulator.SimulatorService,
        build=lambda url: SimulatorChannel(base_url=url, webhook_secrets=(_NOW, _BEFORE)),
        bare=lambda url: SimulatorChannel(base_url=url),
        sign=_hmac(SIMULATOR_HEADER, "sha256"),
        to="+49151",
        arrives_at="+49151",
        secrets=(SECRET, PREVIOUS),
        callback=True,
        final=True,
    ),
    Case(
        name="telegram",
        service=telegram.TelegramService,
        build=lambda url: _telegram(url, webhook_secret=_NOW, webhook_secret_previous=_BEFORE),
        bare=_telegram,
        sign=lambda _raw, secret: {TELEGRAM_HEADER: secret},
        to="7001",
        arrives_at="7001",
        secrets=(telegram.TOKEN, telegram.TOKEN.partition(":")[2], SECRET, PREVIOUS),
        final=True,
    ),
    Case(
        name="whatsapp_cloud",
        service=whatsapp_cloud.WhatsAppCloudService,
        build=lambda url: _cloud(url, app_secret=_NOW, app_secret_previous=_BEFORE),
        bare=_cloud,
        sign=_hmac(CLOUD_HEADER, "sha256", "sha256="),
        to="+4915199",
        arrives_at="4915199",
        secrets=(whatsapp_cloud.TOKEN, SECRET, PREVIOUS),
        callback=True,
    ),
    Case(
        name="waha",
        service=waha.WahaService,
        build=lambda url: _waha(url, hmac_key=_NOW, hmac_key_previous=_BEFORE),
        bare=_waha,
        sign=_hmac(WAHA_HEADER, "sha512"),
        to="+4915199",
        arrives_at="4915199@c.us",
        secrets=(waha.API_KEY, SECRET, PREVIOUS),
    ),
    Case(
        name="evolution",
        service=evolution.EvolutionService,
        build=lambda url: _evolution(url, webhook_secret=_NOW, webhook_secret_previous=_BEFORE),
        bare=_evolution,
        sign=lambda _raw, secret: {EVOLUTION_HEADER: secret},
        to="4915199@c.us",
        arrives_at="4915199",
        secrets=(evolution.API_KEY, SECRET, PREVIOUS),
    ),
)
BY_NAME = {case.name: case for case in CASES}


@dataclass(frozen=True)
class Body:
    """A webhook body as the far end sends it, and what must be read out of it."""

    channel: str
    name: str
    about: str
    raw: bytes
    expect: dict[str, Any]


def recorded() -> list[Body]:
    """Every body under `bodies/`."""
    found = []
    for path in sorted(BODIES.glob("*/*.json")):
        kept = json.loads(path.read_text())
        raw = json.dumps(kept["body"]).encode()
        found.append(Body(path.parent.name, path.stem, kept["about"], raw, kept["expect"]))
    return found
