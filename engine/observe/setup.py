"""How an installation is set up, as the Settings area lists it: agents, canned replies, accounts, versions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.database.connection import Pool, fetch

MOST = 500
"""Of each kind."""
VERSIONS = 60
TOP_VERSION = 2**31 - 1


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent in its active version."""

    id: int
    tenant_id: int
    tenant: str
    workspace: str
    name: str
    enabled: bool
    mode: str
    version: int
    changed_by: str | None
    changed_at: datetime | None
    note: str | None


@dataclass(frozen=True, slots=True)
class CannedRow:
    """A canned reply; of its text the beginning."""

    tenant_id: int
    shortcut: str
    text: str


@dataclass(frozen=True, slots=True)
class AccountRow:
    """A channel account, and who answers it."""

    channel: str
    account: str
    tenant_id: int
    tenant: str
    agent_id: int | None
    agent: str | None


@dataclass(frozen=True)
class Setup:
    """Everything that can be set up beside the platform settings."""

    agents: tuple[AgentRow, ...]
    canned: tuple[CannedRow, ...]
    accounts: tuple[AccountRow, ...]


@dataclass(frozen=True)
class VersionRow:
    """A version of an agent in a list."""

    version: int
    note: str | None
    created_by: str
    created_at: datetime
    characters: int
    """Of its prompt."""
    policy: dict[str, Any]
    routing: Any
    active: bool


@dataclass(frozen=True)
class Version:
    """A version of an agent, whole."""

    version: int
    prompt: str
    policy: dict[str, Any]
    routing: Any
    note: str | None
    created_by: str
    created_at: datetime


async def read_setup(pool: Pool) -> Setup:
    """Agents, canned replies and channel accounts, `MOST` of each."""
    async with pool.connection() as connection:
        agents = await fetch(connection, "setup_agents", MOST)
        canned = await fetch(connection, "setup_canned", MOST)
        accounts = await fetch(connection, "setup_accounts", MOST)
    return Setup(
        tuple(AgentRow(**row) for row in agents),
        tuple(CannedRow(**row) for row in canned),
        tuple(AccountRow(**row) for row in accounts),
    )


async def versions(
    pool: Pool, agent_id: int, before: int = TOP_VERSION, limit: int = VERSIONS
) -> tuple[VersionRow, ...]:
    """Versions of an agent, the newest first."""
    async with pool.connection() as connection:
        found = await fetch(connection, "agent_versions", agent_id, before, limit)
    return tuple(VersionRow(**row) for row in found)


async def version(pool: Pool, agent_id: int, number: int) -> Version | None:
    """One version, or None when there is none of that number."""
    async with pool.connection() as connection:
        found = await fetch(connection, "agent_version", agent_id, number)
    return Version(**found[0]) if found else None


async def has_messages(pool: Pool) -> bool:
    """Whether anybody has ever written. Raises psycopg.Error."""
    async with pool.connection() as connection:
        cursor = await connection.execute("SELECT FROM et_messages LIMIT 1")
        return await cursor.fetchone() is not None
