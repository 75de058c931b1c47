"""Fixtures of all tests: databases on real servers."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from engine.database.connection import Connection, connect
from tests.support.postgres import Server, embedded_server, system_binaries, system_server

# Tests start hundreds of processes: what one has compiled, the next one finds, also where the machine would have none.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_collection_finish() -> None:
    """What is loaded by now stays: looking through all of it for garbage took a fifth of the tests' time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """`--last-failed` finds tests of a group again, to whose ids pytest-xdist adds the group."""
    cache = session.config.cache
    if cache is not None and not hasattr(session.config, "workerinput"):
        failed = cache.get("cache/lastfailed", {})
        cache.set("cache/lastfailed", {re.sub(r"@[^@\]]*$", "", test): True for test in failed})


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No setting of the person who runs the tests leaks in."""
    for name in list(os.environ):
        if name.startswith(
            ("SWITCHBOARD_", "UNIAPI_", "ZAI_", "TELEGRAM_", "WHATSAPP_", "WAHA_", "EVOLUTION_")
        ):
            monkeypatch.delenv(name)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("SWITCHBOARD_CONFIG", "/nonexistent/switchboard.toml")


@pytest.fixture(scope="session")
def embedded() -> Iterator[Server]:
    with embedded_server() as server:
        yield server


@pytest.fixture(scope="session", params=["embedded", "system"])
def any_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Each server there is: the embedded one, and the system's where it is installed."""
    if request.param == "embedded":
        yield request.getfixturevalue("embedded")
    elif system_binaries() is None:
        pytest.skip("no system PostgreSQL is installed")
    else:
        with system_server() as server:
            yield server


@pytest.fixture
def dsn(embedded: Server) -> Iterator[str]:
    """URL of a migrated database of this test's own."""
    name = embedded.migrated_database()
    yield embedded.dsn(name)
    embedded.drop(name)


@pytest.fixture
def empty_dsn(any_server: Server) -> Iterator[str]:
    """URL of an empty database, on each server there is."""
    name = any_server.empty_database()
    yield any_server.dsn(name)
    any_server.drop(name)


@pytest.fixture
async def db(dsn: str) -> AsyncIterator[Connection]:
    """A connection to this test's database."""
    async with await connect(dsn) as connection:
        yield connection
