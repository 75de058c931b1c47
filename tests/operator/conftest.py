"""Fixtures of the operator's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.operator.world import World, world


@pytest.fixture
async def w(dsn: str) -> AsyncIterator[World]:
    """A small installation of this test's own."""
    async with world(dsn) as made:
        yield made
