"""Agents: made, renamed, switched on and off. What one says is in its versions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Pool
from engine.operator.agent_versions import (
    KEEP,
    Keep,
    check_policy,
    check_prompt,
    lock_agent,
    store_version,
)
from engine.operator.audit import BadInput, Operator, acting, audit, one, rows, storable_text
from engine.operator.configuration import check_routing

NAME_LIMIT = 200
Mode = Literal["auto", "suggest"]


class AgentState(BaseModel):
    """An agent without its versions."""

    model_config = ConfigDict(frozen=True)

    id: int
    tenant_id: int
    workspace_id: int
    name: str
    enabled: bool
    mode: str
    active_version: int


async def list_agents(pool: Pool, tenant_id: int | None = None) -> list[AgentState]:
    """Every agent, of one tenant or of all."""
    async with pool.connection() as connection:
        found = await rows(
            connection,
            """SELECT id, tenant_id, workspace_id, name, enabled, mode, active_version FROM et_agents
                WHERE %s::bigint IS NULL OR tenant_id = %s ORDER BY tenant_id, id""",
            tenant_id,
            tenant_id,
        )
    return [AgentState(**row) for row in found]


async def read_agent(pool: Pool, agent_id: int) -> AgentState:
    """One agent. Raises NotFound."""
    async with pool.connection() as connection:
        return AgentState(
            **await one(
                connection,
                f"Agent {agent_id}",
                """SELECT id, tenant_id, workspace_id, name, enabled, mode, active_version FROM et_agents
                    WHERE id = %s""",
                agent_id,
            )
        )


async def create_agent(
    pool: Pool,
    operator: Operator,
    workspace_id: int,
    name: str,
    prompt: str,
    *,
    mode: Mode = "auto",
    policy: dict[str, Any] | None = None,
    routing: Any = None,
) -> int:
    """A new agent with its first version; returns its id. Raises BadInput, NotFound, ReadOnly."""
    name = storable_text(name, "The name", NAME_LIMIT)
    _check_mode(mode)
    prompt, policy, routing = check_prompt(prompt), check_policy(policy or {}), check_routing(routing)
    async with acting(pool, operator) as connection:
        workspace = await one(
            connection,
            f"Workspace {workspace_id}",
            "SELECT tenant_id FROM et_workspaces WHERE id = %s FOR SHARE",
            workspace_id,
        )
        made = await rows(
            connection,
            """INSERT INTO et_agents (tenant_id, workspace_id, name, mode) VALUES (%s, %s, %s, %s)
               RETURNING id""",
            workspace["tenant_id"],
            workspace_id,
            name,
            mode,
        )
        agent_id = int(made[0]["id"])
        await store_version(connection, operator, agent_id, 1, prompt, policy, routing, "first version")
        after = {"workspace_id": workspace_id, "name": name, "mode": mode, "version": 1}
        await audit(connection, operator, "agent.create", f"agent:{agent_id}", None, after)
        return agent_id


async def update_agent(
    pool: Pool,
    operator: Operator,
    agent_id: int,
    *,
    name: str | Keep = KEEP,
    enabled: bool | Keep = KEEP,
    mode: Mode | Keep = KEEP,
    note: str | None = None,
) -> AgentState:
    """Rename an agent, switch it on or off, or have it only suggest; returns it as it is then.

    Raises BadInput, NotFound, ReadOnly.
    """
    if name is not KEEP:
        name = storable_text(name, "The name", NAME_LIMIT)
    if mode is not KEEP:
        _check_mode(mode)
    async with acting(pool, operator) as connection:
        agent = await lock_agent(connection, agent_id)
        before = {key: agent[key] for key in ("name", "enabled", "mode")}
        given = {"name": name, "enabled": enabled, "mode": mode}
        after = {key: before[key] if value is KEEP else value for key, value in given.items()}
        changed = await rows(
            connection,
            """UPDATE et_agents SET name = %s, enabled = %s, mode = %s WHERE id = %s
               RETURNING id, tenant_id, workspace_id, name, enabled, mode, active_version""",
            after["name"],
            after["enabled"],
            after["mode"],
            agent_id,
        )
        await audit(connection, operator, "agent.update", f"agent:{agent_id}", before, after, note)
    return AgentState(**changed[0])


def _check_mode(mode: str) -> None:
    if mode not in ("auto", "suggest"):
        raise BadInput(f"There is no mode {mode!r}.", "Choose auto (replies) or suggest (drafts).")
