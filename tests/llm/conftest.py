"""A far end on loopback, routers that talk to it over real HTTP, and a clock that tests move by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from engine.demo.far_end import FarEnd
from engine.llm import pricing
from engine.llm.health import Clock
from engine.llm.providers.uniapi import UniAPI
from engine.llm.providers.zai import ZAI
from engine.llm.router import Router
from engine.model import LLMMessage, LLMResult

UNIAPI_KEY = "sk-uniapi-secret-0123456789"
ZAI_KEY = "zai-secret-9876543210"
ASK = [
    LLMMessage(role="system", content="You answer for a small shop."),
    LLMMessage(role="user", content="When do you open?"),
]


class HandClock:
    """Stands still until `advance` is called."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.start = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
        self.clock = Clock(
            now=lambda: self.start + timedelta(seconds=self.seconds), monotonic=lambda: self.seconds
        )

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture(scope="session", autouse=True)
def _prices() -> None:
    """The price table is loaded once; the first turn of a test shall not wait for it."""
    pricing.load()


@pytest.fixture
def far() -> Iterator[FarEnd]:
    with FarEnd() as far:
        yield far


@pytest.fixture
def hand_clock() -> HandClock:
    return HandClock()


@pytest.fixture
async def make_router(far: FarEnd) -> AsyncIterator[Callable[..., Router]]:
    """Builds routers to the far end, and closes them."""
    made: list[Router] = []

    def make(
        *, uniapi_key: str | None = UNIAPI_KEY, zai_key: str | None = ZAI_KEY, clock: Clock | None = None
    ) -> Router:
        providers = {
            "uniapi": UniAPI(far.uniapi_url, SecretStr(uniapi_key) if uniapi_key else None),
            "zai": ZAI(far.zai_url, SecretStr(zai_key) if zai_key else None),
        }
        made.append(Router(providers, clock=clock, rng=random.Random(7)))
        return made[-1]

    yield make
    for router in made:
        await router.aclose()


async def ask(router: Router, seconds: float = 20.0, **options: object) -> LLMResult:
    """One conversation turn with a deadline `seconds` away."""
    deadline = asyncio.get_running_loop().time() + seconds
    messages = options.pop("messages", ASK)
    return await router.complete("conversation", messages, deadline=deadline, **options)  # type: ignore[arg-type]


async def until(condition: Callable[[], bool]) -> None:
    """Waits for something that another thread brings about."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the far end's thread has no event of this loop
            await asyncio.sleep(0.005)
