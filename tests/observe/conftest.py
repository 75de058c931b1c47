"""A database with a long history, read by the tests of several areas and changed by none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from engine.database.connection import Pool, open_pool
from tests.support.crowd import plant_crowd
from tests.support.postgres import Server


@pytest.fixture(scope="session")
def crowd_dsn(embedded: Server) -> Iterator[str]:
    name = embedded.migrated_database()
    with psycopg.connect(embedded.dsn(name), autocommit=True) as connection:
        plant_crowd(connection)
    yield embedded.dsn(name)
    embedded.drop(name)


@pytest.fixture
async def crowd(crowd_dsn: str) -> AsyncIterator[Pool]:
    """A pool on it."""
    pool = open_pool(crowd_dsn, size=2)
    await pool.open(wait=True)
    yield pool
    await pool.close()


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    """A pool on this test's own database."""
    pool = open_pool(dsn, size=2)
    await pool.open(wait=True)
    yield pool
    await pool.close()
