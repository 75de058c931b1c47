"""The index of the Settings area: every setting, agent, tenant, canned reply and channel, a line each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from textual.content import Content

from console.clock import Clock
from console.sanitise import cell
from console.screens.settings_words import SETTINGS, read_out, words_of
from console.screens.upkeep_panes import UPKEEP, Upkeep, index_words
from console.widgets.lines import Line, fit, heading
from console.words import BAD, GOOD, HEALTH, MUTED, UNSEEN, WARN, usd

if TYPE_CHECKING:
    from engine.model import ComponentHealth
    from engine.observe.records import Act
    from engine.observe.setup import Setup, VersionRow
    from engine.operator.configuration import Setting
    from engine.operator.tenants import Tenant


@dataclass(frozen=True)
class SettingsView:
    """What the area reads."""

    settings: dict[str, Setting]
    tenants: tuple[Tenant, ...]
    setup: Setup
    routing: tuple[str, ...]
    """The routing in force, in words; none when it cannot be used."""
    about: Any = None
    """What was chosen when it was read."""
    changes: tuple[Act, ...] = ()
    """Of the setting or tenant `about`, the newest first."""
    versions: tuple[VersionRow, ...] = ()
    """Of the agent `about`, the newest first."""
    upkeep: Upkeep = field(default_factory=Upkeep)


def index_lines(view: SettingsView, channels: list[ComponentHealth], width: int, clock: Clock) -> list[Line]:
    """Everything that can be chosen, in groups."""
    return [
        heading("Platform"),
        *_settings(view, width),
        _gap(),
        heading("Agents", "" if view.setup.agents else "none"),
        *_agents(view, width),
        _gap(),
        heading("Tenants"),
        *_tenants(view, width),
        _gap(),
        heading("Canned replies", "" if view.setup.canned else "none yet · n adds one"),
        *_canned(view),
        _gap(),
        heading("Channels", "" if channels or view.setup.accounts else "none"),
        *_channels(view, channels, width),
        _gap(),
        heading("Upkeep"),
        *(
            Line(
                _row(Content(key.capitalize()), index_words(view.upkeep, key, clock), width), ("upkeep", key)
            )
            for key in UPKEEP
        ),
    ]


def _gap() -> Line:
    return Line(Content(""))


def _row(name: Content, value: Content, width: int) -> Content:
    room = max(12, width - 24)
    return Content.assemble("  ", fit(name, min(22, width - 14)), " ", value.truncate(room, ellipsis=True))


def _settings(view: SettingsView, width: int) -> Iterator[Line]:
    keys = [key for key in SETTINGS if key in view.settings]
    for key in [*keys, *(key for key in view.settings if key not in (*SETTINGS, *UPKEEP))]:
        setting = view.settings[key]
        style = BAD if setting.problem else WARN if key == "ai_paused" and setting.value is True else ""
        if setting.problem:
            value = "✗ refused"
        elif key == "llm_routing_config" and view.routing:
            value = (
                view.routing[-1].partition(": ")[2]
                if len(view.routing) == 1
                else read_out(key, setting.value)
            )
        else:
            value = read_out(key, setting.value)
        shown = cell(value, style or ("" if setting.stored else MUTED))
        yield Line(_row(Content(words_of(key).title), shown, width), ("setting", key))


def _agents(view: SettingsView, width: int) -> Iterator[Line]:
    for agent in view.setup.agents:
        state = "off" if not agent.enabled else "drafts" if agent.mode == "suggest" else "answers"
        style = MUTED if not agent.enabled else WARN if agent.mode == "suggest" else GOOD
        glyph = "○" if not agent.enabled else "◐" if agent.mode == "suggest" else "●"
        value = Content.assemble((f"{glyph} {state} ", style), (f"v{agent.version}", MUTED))
        yield Line(_row(cell(agent.name, limit=60), value, width), ("agent", agent.id))


def _tenants(view: SettingsView, width: int) -> Iterator[Line]:
    for tenant in view.tenants:
        cap = tenant.daily_budget_usd
        value = Content.assemble(
            ("‖ paused  " if tenant.paused else "", WARN),
            ("no cap" if cap is None else f"{usd(float(cap))} a day", MUTED),
        )
        yield Line(_row(cell(tenant.name, limit=60), value, width), ("tenant", tenant.id))


def _canned(view: SettingsView) -> Iterator[Line]:
    for reply in view.setup.canned:
        name = fit(cell(f"/{reply.shortcut}", limit=41), 16)
        yield Line(
            Content.assemble("  ", name, " ", cell(reply.text, MUTED)),
            ("canned", (reply.tenant_id, reply.shortcut)),
        )


def _channels(view: SettingsView, channels: list[ComponentHealth], width: int) -> Iterator[Line]:
    for name, health in channel_names(view, channels):
        look = HEALTH.get(health.state, UNSEEN) if health else UNSEEN
        word = look.word if health else "no engine has it"
        value = Content.styled(f"{look.glyph} {word}", look.style)
        yield Line(_row(cell(name, limit=60), value, width), ("channel", name))


def channel_names(
    view: SettingsView, channels: list[ComponentHealth]
) -> list[tuple[str, ComponentHealth | None]]:
    """Every account the engines tell of, and those that are only on record."""
    told: dict[str, Any] = {health.name: health for health in channels}
    known = [f"{account.channel}/{account.account}" for account in view.setup.accounts]
    return [(name, told.get(name)) for name in sorted({*told, *known})]
