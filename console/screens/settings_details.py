"""What the Settings area tells of the thing that is chosen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from textual.content import Content

from console.clock import Clock
from console.sanitise import cell
from console.screens.schema_panes import wrapped
from console.screens.settings_rows import SettingsView, channel_names
from console.screens.settings_words import ROUTING, read_out, words_of
from console.screens.upkeep_panes import pane
from console.widgets.lines import Line, fit, heading
from console.words import BAD, GOOD, HEALTH, KEY, MUTED, STRONG, UNSEEN, WARN, count, usd

if TYPE_CHECKING:
    from engine.model import ComponentHealth
    from engine.observe.records import Act
    from engine.observe.setup import VersionRow

NAME = 10


def detail_lines(
    view: SettingsView, channels: list[ComponentHealth], chosen: Any, clock: Clock, width: int
) -> list[Line]:
    """The pane for what is chosen."""
    width = max(24, width)
    match chosen:
        case ("setting", str(key)) if key in view.settings:
            return list(_setting(view, key, clock, width))
        case ("agent", int(agent_id)):
            return list(_agent(view, agent_id, clock, width))
        case ("tenant", int(tenant_id)):
            return list(_tenant(view, tenant_id, clock, width))
        case ("canned", (int(tenant_id), str(shortcut))):
            return list(_canned(view, tenant_id, shortcut, width))
        case ("channel", str(name)):
            return list(_channel(view, channels, name, width))
        case ("upkeep", str(key)):
            return list(pane(view.upkeep, key, clock, width))
    return []


def _setting(view: SettingsView, key: str, clock: Clock, width: int) -> Iterator[Line]:
    setting, words = view.settings[key], words_of(key)
    yield Line(Content.styled(words.title, STRONG))
    yield from wrapped(words.meaning, width, style=MUTED)
    yield Line(Content(""))
    yield _fact("now", cell(read_out(key, setting.value)))
    if setting.stored:
        yield _fact("default", cell(read_out(key, setting.default), MUTED))
        when = clock.full(setting.updated_at)[:19]
        yield _fact("set", Content.assemble((f"{when} by ", MUTED), cell(setting.updated_by)))
    else:
        yield _fact("set", Content.styled("never: the default is in force", MUTED))
    if setting.problem:
        yield from wrapped(
            f"Engines refuse what is stored and keep the last good value. {setting.problem}", width, "✗ ", BAD
        )
    if key == ROUTING:
        yield Line(Content(""))
        for line in view.routing:
            yield from _route(line, width)
    yield Line(Content(""))
    more = [("t", "test call"), ("J", "JSON")] if key == ROUTING else []
    keys = [("e", "edit"), *more, ("b", "roll back")]
    yield _keys(*keys)
    yield Line(Content(""))
    yield from _changes(key, view.changes, clock)


def _route(line: str, width: int) -> Iterator[Line]:
    """One line of the routing in words: the task, then its routes numbered below."""
    task, colon, order = line.partition(": ")
    if not colon:
        yield from wrapped(line, width, "  ", MUTED)
        return
    yield Line(Content.styled(task, MUTED))
    for number, route in enumerate(order.split(", then "), 1):
        yield from wrapped(route, width, f"  {number} ")


def _changes(key: str, changes: tuple[Act, ...], clock: Clock) -> Iterator[Line]:
    yield heading("Changes", "enter puts a value back" if changes else "none on record")
    for act in changes:
        if act.act == "routing.test":
            routes = act.after.get("routes", []) if isinstance(act.after, dict) else []
            good = sum(1 for route in routes if isinstance(route, dict) and route.get("ok") is True)
            what, target = f"test call: {good} of {len(routes)} routes answered", None
        else:
            note = f"{act.note}  " if act.note else ""
            what, target = f"{note}→ {changed_to(key, act)}", ("change", act)
        yield Line(
            Content.assemble(
                (clock.time(act.at), MUTED),
                " ",
                fit(cell(act.actor, limit=40), 12),
                " ",
                cell(what, MUTED if target is None else "", 300),
            ),
            target,
        )


def changed_to(key: str, act: Act) -> str:
    """What an act on a setting or tenant changed it to."""
    if act.act == "setting.reset":
        return "the default"
    if act.act == "tenant.update" and isinstance(act.before, dict) and isinstance(act.after, dict):
        parts = [name for name in act.after if act.after[name] != act.before.get(name)]
        return ", ".join(f"{name} {act.after[name]}" for name in parts) or "the same"
    value = act.after.get("value") if isinstance(act.after, dict) else act.after
    return (
        json.dumps(value, ensure_ascii=False)
        if key == ROUTING and value is not None
        else read_out(key, value)
    )


def _agent(view: SettingsView, agent_id: int, clock: Clock, width: int) -> Iterator[Line]:
    agent = next((a for a in view.setup.agents if a.id == agent_id), None)
    if agent is None:
        return
    yield Line(Content.assemble(cell(agent.name, STRONG), (f"  agent {agent.id}", MUTED)))
    yield _fact("belongs", cell(f"{agent.tenant} / {agent.workspace}", limit=100))
    state = ("● answers by itself", GOOD) if agent.mode == "auto" else ("◐ drafts, a person sends", WARN)
    yield _fact("state", Content.styled(*(state if agent.enabled else ("○ switched off", MUTED))))
    active = next((v for v in view.versions if v.active), None)
    if active is not None:
        yield from _policy(active, width)
    yield Line(Content(""))
    yield _keys(("e", "prompt"), ("P", "policy"), ("o", "off" if agent.enabled else "on"), ("M", "mode"))
    yield _keys(("R", "routing"), ("w", "what if"), ("W", "tried"))
    yield _keys(("enter", "read"), ("d", "diff"), ("b", "roll back"), note="the version under the cursor")
    yield Line(Content(""))
    yield heading("Versions", "tab goes there")
    for version in view.versions:
        yield _version(version, clock, width)
    acts = [act for act in view.changes if act.act != "agent.version"]
    if acts:
        yield Line(Content(""))
        yield heading("Changes")
    for act in acts:
        yield _act(act, clock)


def _act(act: Act, clock: Clock) -> Line:
    """A rollback or a switch of an agent: when, who, what, why."""
    before = act.before if isinstance(act.before, dict) else {}
    after = act.after if isinstance(act.after, dict) else {}
    changed = {name: value for name, value in after.items() if before.get(name) != value}
    if act.act == "agent.rollback":
        what = f"back to v{after.get('active_version')}"
    else:
        what = ", ".join(f"{name} {value}" for name, value in changed.items())
    return Line(
        Content.assemble(
            (f"{clock.time(act.at)} ", MUTED),
            fit(cell(act.actor, limit=40), 10),
            " ",
            cell(what, MUTED, 200),
            "  ",
            cell(act.note or "", limit=300),
        )
    )


def _policy(active: VersionRow, width: int) -> Iterator[Line]:
    if not active.policy:
        yield _fact("policy", Content.styled("the defaults", MUTED))
    for at, (key, value) in enumerate(sorted(active.policy.items())):
        told = f"{key} {json.dumps(value, ensure_ascii=False)}"
        for nth, line in enumerate(wrapped(told, width - NAME)[:3]):
            yield _fact(
                "policy" if at + nth == 0 else "", line.content if nth == 0 else line.content.pad_left(2)
            )
    routes = "its own" if active.routing is not None else "the platform's"
    yield _fact("routing", Content.styled(routes, "" if active.routing is not None else MUTED))


def _version(version: VersionRow, clock: Clock, width: int) -> Line:
    mark = ("● ", GOOD) if version.active else ("  ", MUTED)
    return Line(
        Content.assemble(
            mark,
            (f"v{version.version:<4}", STRONG if version.active else ""),
            (clock.time(version.created_at), MUTED),
            " ",
            fit(cell(version.created_by, limit=40), 10),
            (f"{count(version.characters):>7} chars  " if width >= 60 else "", MUTED),
            cell(version.note or "", limit=300),
        ),
        ("version", version.version),
    )


def _tenant(view: SettingsView, tenant_id: int, clock: Clock, width: int) -> Iterator[Line]:
    tenant = next((t for t in view.tenants if t.id == tenant_id), None)
    if tenant is None:
        return
    cap = tenant.daily_budget_usd
    yield Line(Content.assemble(cell(tenant.name, STRONG), (f"  tenant {tenant.id}", MUTED)))
    yield _fact("cap", Content("none of its own" if cap is None else f"{usd(float(cap))} a day"))
    yield _fact(
        "state",
        Content.styled(
            *(("‖ paused: its messages go to people", WARN) if tenant.paused else ("● active", GOOD))
        ),
    )
    yield Line(Content(""))
    yield _keys(("e", "cap"), ("o", "resume" if tenant.paused else "pause"))
    yield Line(Content(""))
    yield heading("Changes", "" if view.changes else "none on record")
    for act in view.changes:
        yield Line(
            Content.assemble(
                (f"{clock.time(act.at)} ", MUTED),
                fit(cell(act.actor, limit=40), 12),
                " ",
                cell(changed_to("", act), limit=300),
            )
        )


def _canned(view: SettingsView, tenant_id: int, shortcut: str, width: int) -> Iterator[Line]:
    reply = next((c for c in view.setup.canned if (c.tenant_id, c.shortcut) == (tenant_id, shortcut)), None)
    if reply is None:
        return
    tenant = next((t.name for t in view.tenants if t.id == tenant_id), "")
    yield Line(
        Content.assemble(cell(f"/{shortcut}", STRONG), ("  canned reply of ", MUTED), cell(tenant, MUTED))
    )
    yield Line(Content(""))
    yield from wrapped(reply.text, width)
    yield Line(Content(""))
    yield _keys(("e", "edit"), ("x", "delete"), ("n", "new one"))


def _channel(view: SettingsView, channels: list[ComponentHealth], name: str, width: int) -> Iterator[Line]:
    health = dict(channel_names(view, channels)).get(name)
    yield Line(cell(name, STRONG))
    if health is None:
        yield from wrapped("No running engine has this account in its settings.", width, style=MUTED)
    else:
        look = HEALTH.get(health.state, UNSEEN)
        yield _fact("state", Content.styled(f"{look.glyph} {look.word}", look.style))
        if health.detail:
            yield from wrapped(health.detail, width, " " * NAME)
        if health.blocker is not None:
            yield from wrapped(health.blocker.what, width, "✗ ", BAD)
            yield from wrapped(health.blocker.remedy, width, "  → ", MUTED)
        for figure, value in health.figures.items():
            yield _fact(figure.replace("_", " "), cell(str(value), limit=120))
    account = next((a for a in view.setup.accounts if f"{a.channel}/{a.account}" == name), None)
    who = "the tenant's first agent" if account is None or account.agent is None else account.agent
    yield _fact("answers", cell(who, limit=100))
    if account is not None:
        yield _fact("tenant", cell(account.tenant, limit=100))


def _fact(name: str, value: Content) -> Line:
    return Line(Content.assemble(fit(Content.styled(name, MUTED), NAME), value))


def _keys(*keys: tuple[str, str], note: str = "") -> Line:
    parts = [Content.assemble((key, KEY), (f" {word}   ", MUTED)) for key, word in keys]
    return Line(Content.assemble(*parts, (note, MUTED)))
