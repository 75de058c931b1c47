"""Tenants, their workspaces, and which agent answers which channel account."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, LiteralString
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Pool
from engine.operator.agent_versions import KEEP, Keep
from engine.operator.agents import NAME_LIMIT
from engine.operator.audit import BadInput, Operator, acting, audit, one, rows, storable_text

_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_MOST_USD = 10_000_000


class Tenant(BaseModel):
    """A tenant."""

    model_config = ConfigDict(frozen=True)

    id: int
    name: str
    daily_budget_usd: Decimal | None
    paused: bool


class Workspace(BaseModel):
    """A workspace. Quiet hours are local times HH:MM and may pass midnight."""

    model_config = ConfigDict(frozen=True)

    id: int
    tenant_id: int
    name: str
    timezone: str
    quiet_from: str | None
    quiet_to: str | None


class ChannelAccount(BaseModel):
    """Who answers what comes in on an account of a channel."""

    model_config = ConfigDict(frozen=True)

    channel: str
    account: str
    tenant_id: int
    workspace_id: int | None
    agent_id: int | None


async def list_tenants(pool: Pool) -> list[Tenant]:
    """Every tenant."""
    async with pool.connection() as connection:
        found = await rows(connection, f"{_TENANT} ORDER BY id")
    return [Tenant(**row) for row in found]


async def create_tenant(
    pool: Pool, operator: Operator, name: str, *, daily_budget_usd: float | None = None
) -> Tenant:
    """A new tenant. Raises BadInput, ReadOnly."""
    name = storable_text(name, "The name", NAME_LIMIT)
    _check_budget(daily_budget_usd)
    async with acting(pool, operator) as connection:
        made = await rows(
            connection,
            """INSERT INTO et_tenants (name, daily_budget_usd) VALUES (%s, %s)
               RETURNING id, name, daily_budget_usd, paused""",
            name,
            daily_budget_usd,
        )
        tenant = Tenant(**made[0])
        after = tenant.model_dump(mode="json")
        await audit(connection, operator, "tenant.create", f"tenant:{tenant.id}", None, after)
        return tenant


async def update_tenant(
    pool: Pool,
    operator: Operator,
    tenant_id: int,
    *,
    name: str | Keep = KEEP,
    daily_budget_usd: float | Keep | None = KEEP,
    paused: bool | Keep = KEEP,
) -> Tenant:
    """Change a tenant; a paused one's messages go to people. Raises BadInput, NotFound, ReadOnly."""
    if name is not KEEP:
        name = storable_text(name, "The name", NAME_LIMIT)
    if daily_budget_usd is not KEEP:
        _check_budget(daily_budget_usd)
    async with acting(pool, operator) as connection:
        found = await one(connection, f"Tenant {tenant_id}", f"{_TENANT} WHERE id = %s FOR UPDATE", tenant_id)
        before = Tenant(**found)
        given = {"name": name, "daily_budget_usd": daily_budget_usd, "paused": paused}
        changes = {key: value for key, value in given.items() if value is not KEEP}
        changed = Tenant.model_validate({**before.model_dump(), **changes})
        await rows(
            connection,
            "UPDATE et_tenants SET name = %s, daily_budget_usd = %s, paused = %s WHERE id = %s",
            changed.name,
            changed.daily_budget_usd,
            changed.paused,
            tenant_id,
        )
        former, after = before.model_dump(mode="json"), changed.model_dump(mode="json")
        await audit(connection, operator, "tenant.update", f"tenant:{tenant_id}", former, after)
        return changed


async def list_workspaces(pool: Pool, tenant_id: int | None = None) -> list[Workspace]:
    """Every workspace, of one tenant or of all."""
    async with pool.connection() as connection:
        found = await rows(
            connection,
            f"{_WORKSPACE} WHERE %s::bigint IS NULL OR tenant_id = %s ORDER BY tenant_id, id",
            tenant_id,
            tenant_id,
        )
    return [Workspace(**row) for row in found]


async def create_workspace(
    pool: Pool,
    operator: Operator,
    tenant_id: int,
    name: str,
    *,
    timezone: str = "UTC",
    quiet_from: str | None = None,
    quiet_to: str | None = None,
) -> Workspace:
    """A new workspace. Raises BadInput, NotFound, ReadOnly."""
    name = storable_text(name, "The name", NAME_LIMIT)
    _check_times(timezone, quiet_from, quiet_to)
    async with acting(pool, operator) as connection:
        await one(
            connection, f"Tenant {tenant_id}", "SELECT id FROM et_tenants WHERE id = %s FOR SHARE", tenant_id
        )
        made = await rows(
            connection,
            """INSERT INTO et_workspaces (tenant_id, name, timezone, quiet_from, quiet_to)
               VALUES (%s, %s, %s, %s, %s)
               RETURNING id, tenant_id, name, timezone, quiet_from, quiet_to""",
            tenant_id,
            name,
            timezone,
            quiet_from,
            quiet_to,
        )
        workspace = Workspace(**made[0])
        after = workspace.model_dump()
        await audit(connection, operator, "workspace.create", f"workspace:{workspace.id}", None, after)
        return workspace


async def update_workspace(
    pool: Pool,
    operator: Operator,
    workspace_id: int,
    *,
    name: str | Keep = KEEP,
    timezone: str | Keep = KEEP,
    quiet_from: str | Keep | None = KEEP,
    quiet_to: str | Keep | None = KEEP,
) -> Workspace:
    """Change a workspace. Raises BadInput, NotFound, ReadOnly."""
    if name is not KEEP:
        name = storable_text(name, "The name", NAME_LIMIT)
    async with acting(pool, operator) as connection:
        found = await one(
            connection, f"Workspace {workspace_id}", f"{_WORKSPACE} WHERE id = %s FOR UPDATE", workspace_id
        )
        before = Workspace(**found)
        given = {"name": name, "timezone": timezone, "quiet_from": quiet_from, "quiet_to": quiet_to}
        changed = before.model_copy(update={key: value for key, value in given.items() if value is not KEEP})
        _check_times(changed.timezone, changed.quiet_from, changed.quiet_to)
        await rows(
            connection,
            "UPDATE et_workspaces SET name = %s, timezone = %s, quiet_from = %s, quiet_to = %s WHERE id = %s",
            changed.name,
            changed.timezone,
            changed.quiet_from,
            changed.quiet_to,
            workspace_id,
        )
        await audit(
            connection,
            operator,
            "workspace.update",
            f"workspace:{workspace_id}",
            before.model_dump(),
            changed.model_dump(),
        )
        return changed


async def assign_account(
    pool: Pool, operator: Operator, channel: str, account: str, *, agent_id: int
) -> ChannelAccount:
    """Have an agent, and with it its tenant and workspace, answer an account of a channel.

    Messages that are stored already keep their tenant. Raises NotFound, ReadOnly.
    """
    channel, account = storable_text(channel, "The channel", NAME_LIMIT), account.strip() or "default"
    async with acting(pool, operator) as connection:
        agent = await one(
            connection,
            f"Agent {agent_id}",
            "SELECT tenant_id, workspace_id FROM et_agents WHERE id = %s FOR SHARE",
            agent_id,
        )
        before = await rows(
            connection, f"{_ACCOUNT} WHERE channel = %s AND account = %s FOR UPDATE", channel, account
        )
        assigned = ChannelAccount(channel=channel, account=account, agent_id=agent_id, **agent)
        await rows(
            connection,
            """INSERT INTO et_channel_accounts (channel, account, tenant_id, workspace_id, agent_id)
               VALUES (%s, %s, %s, %s, %s)
                   ON CONFLICT (channel, account) DO UPDATE
                  SET tenant_id = excluded.tenant_id, workspace_id = excluded.workspace_id,
                      agent_id = excluded.agent_id, updated_at = now()""",
            channel,
            account,
            assigned.tenant_id,
            assigned.workspace_id,
            agent_id,
        )
        former: Any = ChannelAccount(**before[0]).model_dump() if before else None
        subject = f"account:{channel}/{account}"
        await audit(connection, operator, "account.assign", subject, former, assigned.model_dump())
        return assigned


_TENANT: LiteralString = "SELECT id, name, daily_budget_usd, paused FROM et_tenants"
_WORKSPACE: LiteralString = "SELECT id, tenant_id, name, timezone, quiet_from, quiet_to FROM et_workspaces"
_ACCOUNT: LiteralString = (
    "SELECT channel, account, tenant_id, workspace_id, agent_id FROM et_channel_accounts"
)


def _check_budget(usd: float | None) -> None:
    if usd is not None and not 0 <= usd <= _MOST_USD:
        raise BadInput(f"A daily budget of {usd} USD is not possible.", "Give 0 or more, or none for no cap.")


def _check_times(timezone: str, quiet_from: str | None, quiet_to: str | None) -> None:
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        raise BadInput(f"There is no timezone {timezone[:60]!r}.", "Name one like Europe/Prague.") from None
    for time in (quiet_from, quiet_to):
        if time is not None and not _TIME.fullmatch(time):
            raise BadInput(f"{time[:20]!r} is not a time of day.", "Write it like 22:00.")
    if (quiet_from is None) != (quiet_to is None):
        raise BadInput("Quiet hours have a beginning and an end.", "Give both, or neither.")
