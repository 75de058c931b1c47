"""What rarely changes, held in memory: tenants, workspaces, agents, channel accounts, platform settings.

Read whole when the engine starts and again whenever NOTIFY `et_settings` says that something changed, so that
no turn pays a query for it and a change is live at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.database.connection import Connection, Pool
from engine.logs import get_logger
from engine.settings import Settings

log = get_logger(__name__)


class QuietWindow(BaseModel):
    """How long a burst is waited for; the mailbox trigger reads the same setting."""

    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(2.0, ge=0, le=600)
    max_seconds: float = Field(10.0, ge=0, le=3600)


Days = Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class RetentionDays(BaseModel):
    """Days that each kind is kept, in place of what engines are told from outside; 0 keeps for ever."""

    model_config = ConfigDict(extra="forbid")

    prompts: Days | None = None
    traces: Days | None = None
    payloads: Days | None = None
    quarantine: Days | None = None
    incidents: Days | None = None
    engines: Annotated[float, Field(ge=1, le=36_500)] | None = None
    audit: Days | None = None


class AlertRules(BaseModel):
    """Thresholds of alerts, in place of what engines are told from outside; 0 switches a rule off."""

    model_config = ConfigDict(extra="forbid")

    blockers: bool | None = None
    queue_seconds: Annotated[float, Field(ge=0, le=31_536_000, allow_inf_nan=False)] | None = None
    error_share: Share | None = None
    spend_share: Share | None = None
    balance_days: Days | None = None
    takeover_minutes: Annotated[float, Field(ge=0, le=525_600, allow_inf_nan=False)] | None = None


class PlatformSettings(BaseModel):
    """The known keys of `et_platform_settings`, each with the default in force when it is not set."""

    model_config = ConfigDict(extra="forbid")

    record_context_prompt: bool = False
    """Keep the whole prompt of each turn with its trace."""
    llm_routing_config: Any = None
    """Routes by task (see engine.llm.routing); null is the default: UniAPI, then Z.ai."""
    quiet_window: QuietWindow = Field(default_factory=QuietWindow)
    ai_paused: bool = False
    """The kill switch: nothing is claimed while it is on; messages wait as `received`."""
    paused_channels: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(default_factory=list)
    """The same for these channels alone, by name."""
    daily_budget_usd: float | None = Field(None, ge=0, le=1_000_000_000)
    """Cap of each tenant's spend per UTC day; null is none."""
    max_message_age_hours: float = Field(24.0, gt=0, le=87_600)
    """An older message is not answered by itself: a person decides."""
    retention: RetentionDays = Field(default_factory=RetentionDays)
    alerts: AlertRules = Field(default_factory=AlertRules)

    def over(self, settings: Settings) -> Settings:
        """What is in force for upkeep: `settings`, with retention and alerts as they are set here."""
        days = self.retention.model_dump(exclude_none=True)
        rules = self.alerts.model_dump(exclude_none=True)
        return settings.model_copy(
            update={
                **{f"keep_{kind}_days": value for kind, value in days.items()},
                **{f"alert_{name}": value for name, value in rules.items()},
            }
        )


@dataclass(frozen=True)
class Agent:
    """An agent in its active version."""

    id: int
    tenant_id: int
    workspace_id: int
    name: str
    mode: str
    version: int
    prompt: str
    policy: dict[str, Any]
    routing: Any
    timezone: str
    quiet_from: str | None
    """Local time HH:MM from which the AI's replies wait; None: no quiet hours."""
    quiet_to: str | None


@dataclass(frozen=True)
class Directory:
    """A snapshot of what rarely changes."""

    settings: PlatformSettings = field(default_factory=PlatformSettings)
    agents: dict[int, Agent] = field(default_factory=dict)
    by_account: dict[tuple[int, str, str], int] = field(default_factory=dict)
    by_tenant: dict[int, int] = field(default_factory=dict)
    budgets: dict[int, Decimal | None] = field(default_factory=dict)
    paused_tenants: frozenset[int] = frozenset()
    bad_settings: dict[str, str] = field(default_factory=dict)

    def agent_for(self, tenant_id: int, channel: str, account: str) -> Agent | None:
        """The agent of a channel account, else the tenant's first enabled one; None when there is none."""
        agent_id = self.by_account.get((tenant_id, channel, account)) or self.by_tenant.get(tenant_id)
        return self.agents.get(agent_id) if agent_id else None

    def daily_cap(self, tenant_id: int, of_engine: float | None) -> Decimal | None:
        """USD per day that a tenant may spend: the least of its own cap, the platform's and the engine's."""
        caps = [
            self.budgets.get(tenant_id),
            None if self.settings.daily_budget_usd is None else Decimal(str(self.settings.daily_budget_usd)),
            None if of_engine is None else Decimal(str(of_engine)),
        ]
        return min((cap for cap in caps if cap is not None), default=None)


async def in_force(pool: Pool, settings: Settings) -> Settings:
    """`settings` with the platform's retention and alerts on top; one that is not valid does not count."""
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "SELECT key, value FROM et_platform_settings WHERE key IN ('retention', 'alerts')"
        )
        stored = {row["key"]: row["value"] for row in await cursor.fetchall()}
    return _platform_settings(stored, None)[0].over(settings)


async def load_directory(connection: Connection, earlier: Directory | None = None) -> Directory:
    """Read the directory. A setting that is not valid keeps its earlier value and is named."""
    rows = await (await connection.execute("SELECT key, value FROM et_platform_settings")).fetchall()
    settings, bad = _platform_settings({row["key"]: row["value"] for row in rows}, earlier)
    agents = {row["id"]: Agent(**row) for row in await (await connection.execute(_AGENTS)).fetchall()}
    by_tenant: dict[int, int] = {}
    by_workspace: dict[int, int] = {}
    for agent in agents.values():  # in order of id: the first one wins
        by_tenant.setdefault(agent.tenant_id, agent.id)
        by_workspace.setdefault(agent.workspace_id, agent.id)
    accounts = await (
        await connection.execute(
            "SELECT tenant_id, channel, account, workspace_id, agent_id FROM et_channel_accounts"
        )
    ).fetchall()
    by_account = {
        (row["tenant_id"], row["channel"], row["account"]): row["agent_id"]
        or by_workspace.get(row["workspace_id"], 0)
        for row in accounts
    }
    tenants = await (
        await connection.execute("SELECT id, daily_budget_usd, paused FROM et_tenants")
    ).fetchall()
    return Directory(
        settings=settings,
        agents=agents,
        by_account=by_account,
        by_tenant=by_tenant,
        budgets={row["id"]: row["daily_budget_usd"] for row in tenants},
        paused_tenants=frozenset(row["id"] for row in tenants if row["paused"]),
        bad_settings=bad,
    )


_AGENTS = """
SELECT a.id, a.tenant_id, a.workspace_id, a.name, a.mode, v.version, v.prompt, v.policy, v.routing,
       w.timezone, w.quiet_from, w.quiet_to
  FROM et_agents a
  JOIN et_agent_versions v ON v.agent_id = a.id AND v.version = a.active_version
  JOIN et_workspaces w ON w.id = a.workspace_id
 WHERE a.enabled ORDER BY a.id
"""


def _platform_settings(
    raw: dict[str, Any], earlier: Directory | None
) -> tuple[PlatformSettings, dict[str, str]]:
    """Each key is judged alone: one bad value does not undo the others."""
    values: dict[str, Any] = {}
    bad: dict[str, str] = {}
    for key, value in raw.items():
        if key not in PlatformSettings.model_fields:
            continue
        try:
            values[key] = getattr(PlatformSettings(**{key: value}), key)
        except ValidationError as error:
            bad[key] = str(error.errors(include_url=False)[0]["msg"])
            log.warning("setting.refused", key=key, why=bad[key])
            if earlier is not None:
                values[key] = getattr(earlier.settings, key)
    return PlatformSettings.model_construct(**{**PlatformSettings().__dict__, **values}), bad
