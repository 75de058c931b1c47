"""Versions of an agent. One is never changed: a new one takes its place, or an old one again."""

from __future__ import annotations

import difflib
from datetime import datetime
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.database.connection import Connection, Pool, Row, to_json
from engine.operator.audit import (
    BadInput,
    NotFound,
    Operator,
    Refused,
    acting,
    audit,
    one,
    rows,
    storable_text,
)
from engine.operator.configuration import check_routing
from engine.text import clean_for_storage, clean_json

PROMPT_LIMIT = 100_000


class Keep(Enum):
    KEEP = "keep"


KEEP: Final = Keep.KEEP
"""In place of a value: as it is."""


class AgentVersion(BaseModel):
    """One version of an agent."""

    model_config = ConfigDict(frozen=True)

    agent_id: int
    version: int
    prompt: str
    policy: dict[str, Any]
    routing: Any = None
    """Overrides the platform's routing; None does not."""
    note: str | None
    created_by: str
    created_at: datetime
    active: bool


class VersionDiff(BaseModel):
    """What two versions differ in."""

    model_config = ConfigDict(frozen=True)

    prompt: list[str]
    """Lines of a unified diff; none when the prompts are equal."""
    policy: dict[str, tuple[Any, Any]]
    """By key: old and new value, None where there is none."""
    routing: tuple[Any, Any] | None


async def new_agent_version(
    pool: Pool,
    operator: Operator,
    agent_id: int,
    *,
    prompt: str | Keep = KEEP,
    policy: dict[str, Any] | Keep = KEEP,
    routing: Any = KEEP,
    note: str | None = None,
    activate: bool = True,
) -> int:
    """Add a version, made from the active one and what is given; returns its number.

    `routing=None` takes an override away. Turns that are running end with the version they began with.
    Raises BadInput, NotFound, ReadOnly.
    """
    async with acting(pool, operator) as connection:
        agent = await lock_agent(connection, agent_id)
        active = await _version(connection, agent_id, agent["active_version"])
        made = (
            check_prompt(active["prompt"] if prompt is KEEP else prompt),
            check_policy(active["policy"] if policy is KEEP else policy),
            check_routing(active["routing"] if routing is KEEP else routing),
        )
        highest = await rows(
            connection, "SELECT max(version) AS version FROM et_agent_versions WHERE agent_id = %s", agent_id
        )
        version = int(highest[0]["version"]) + 1
        await store_version(connection, operator, agent_id, version, *made, note)
        if activate:
            await _activate(connection, agent_id, version)
        after = {"version": version, "active_version": version if activate else agent["active_version"]}
        former = {"active_version": agent["active_version"]}
        await audit(connection, operator, "agent.version", f"agent:{agent_id}", former, after, note)
        return version


async def rollback(
    pool: Pool, operator: Operator, agent_id: int, version: int, *, note: str | None = None
) -> None:
    """Make a version of the agent the active one; `note` says why. Raises Refused when it is, NotFound, ReadOnly."""
    async with acting(pool, operator) as connection:
        agent = await lock_agent(connection, agent_id)
        await _version(connection, agent_id, version)
        if agent["active_version"] == version:
            raise Refused(f"Version {version} of agent {agent_id} is active already.", "Choose another one.")
        await _activate(connection, agent_id, version)
        former = {"active_version": agent["active_version"]}
        after = {"active_version": version}
        await audit(connection, operator, "agent.rollback", f"agent:{agent_id}", former, after, note)


async def list_versions(pool: Pool, agent_id: int) -> list[AgentVersion]:
    """Every version of an agent, the newest first. Raises NotFound."""
    async with pool.connection() as connection:
        found = await rows(
            connection,
            """SELECT v.agent_id, v.version, v.prompt, v.policy, v.routing, v.note, v.created_by,
                      v.created_at, v.version = a.active_version AS active
                 FROM et_agent_versions v JOIN et_agents a ON a.id = v.agent_id
                WHERE v.agent_id = %s ORDER BY v.version DESC""",
            agent_id,
        )
    if not found:
        raise NotFound(f"Agent {agent_id} does not exist.", "Look it up again; it may have another number.")
    return [AgentVersion(**row) for row in found]


async def read_version(pool: Pool, agent_id: int, version: int) -> AgentVersion:
    """One version of an agent. Raises NotFound."""
    async with pool.connection() as connection:
        return AgentVersion(
            **await one(
                connection,
                f"Version {version} of agent {agent_id}",
                """SELECT v.agent_id, v.version, v.prompt, v.policy, v.routing, v.note, v.created_by,
                          v.created_at, v.version = a.active_version AS active
                     FROM et_agent_versions v JOIN et_agents a ON a.id = v.agent_id
                    WHERE v.agent_id = %s AND v.version = %s""",
                agent_id,
                version,
            )
        )


async def diff_versions(pool: Pool, agent_id: int, old: int, new: int) -> VersionDiff:
    """What changed from one version to another. Raises NotFound."""
    async with pool.connection() as connection:
        left, right = await _version(connection, agent_id, old), await _version(connection, agent_id, new)
    lines = difflib.unified_diff(
        left["prompt"].splitlines(),
        right["prompt"].splitlines(),
        f"version {old}",
        f"version {new}",
        lineterm="",
    )
    keys = sorted(left["policy"].keys() | right["policy"].keys())
    pairs = {key: (left["policy"].get(key), right["policy"].get(key)) for key in keys}
    routes = (left["routing"], right["routing"])
    return VersionDiff(
        prompt=list(lines),
        policy={key: pair for key, pair in pairs.items() if pair[0] != pair[1]},
        routing=routes if routes[0] != routes[1] else None,
    )


def check_policy(value: Any) -> dict[str, Any]:
    """A policy as it would be stored. Raises BadInput, which says what is wrong with it."""
    from engine.runtime.policy import AgentPolicy

    try:
        AgentPolicy.model_validate(value)
    except ValidationError as error:
        item = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, item["loc"])) or "policy"
        raise BadInput(
            f"The policy is not valid: {where}: {item['msg']}.", "Correct it and save again."
        ) from None
    cleaned: dict[str, Any] = clean_json(value)
    return cleaned


def check_prompt(prompt: str) -> str:
    """A prompt as it would be stored. Raises BadInput."""
    return storable_text(prompt, "The prompt", PROMPT_LIMIT)


async def lock_agent(connection: Connection, agent_id: int) -> Row:
    """The agent's row, locked. Raises NotFound."""
    return await one(
        connection,
        f"Agent {agent_id}",
        "SELECT id, name, enabled, mode, active_version FROM et_agents WHERE id = %s FOR UPDATE",
        agent_id,
    )


async def _version(connection: Connection, agent_id: int, version: int) -> Row:
    return await one(
        connection,
        f"Version {version} of agent {agent_id}",
        "SELECT prompt, policy, routing FROM et_agent_versions WHERE agent_id = %s AND version = %s",
        agent_id,
        version,
    )


async def store_version(
    connection: Connection,
    operator: Operator,
    agent_id: int,
    version: int,
    prompt: str,
    policy: dict[str, Any],
    routing: Any,
    note: str | None,
) -> None:
    """Add a version whose parts have been checked."""
    await rows(
        connection,
        """INSERT INTO et_agent_versions (agent_id, version, prompt, policy, routing, note, created_by)
           VALUES (%s, %s, %s, %s::jsonb, %s::jsonb, %s, %s)""",
        agent_id,
        version,
        prompt,
        to_json(policy),
        None if routing is None else to_json(routing),
        clean_for_storage(note) if note else None,
        operator.name,
    )


async def _activate(connection: Connection, agent_id: int, version: int) -> None:
    await rows(connection, "UPDATE et_agents SET active_version = %s WHERE id = %s", version, agent_id)
