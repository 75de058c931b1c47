"""What `switchboard agents` prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.observe.records import Act
    from engine.operator.agent_versions import AgentVersion, VersionDiff
    from engine.operator.agents import AgentState

PROMPT_LINE = 2_000


def agent_line(agent: AgentState) -> str:
    """One agent in a line."""
    state = "off" if not agent.enabled else "drafts, a person sends" if agent.mode == "suggest" else "answers"
    return f"agent {agent.id}  {_line(agent.name, 60)}  tenant {agent.tenant_id}  v{agent.active_version}  {state}"


def version_line(version: AgentVersion) -> str:
    """One version in a line: who, when, why."""
    mark = "● active" if version.active else "        "
    return (
        f"{mark}  v{version.version:<4} {version.created_at:%Y-%m-%d %H:%M} UTC  "
        f"{_line(version.created_by, 30):<12} {len(version.prompt):>7,} characters  {_line(version.note or '')}"
    ).rstrip()


def version_lines(agent: AgentState, version: AgentVersion) -> Iterator[str]:
    """A version, whole."""
    yield agent_line(agent)
    yield version_line(version)
    yield f"policy   {_json(version.policy) if version.policy else 'the defaults'}"
    yield f"routing  {_json(version.routing) if version.routing is not None else 'of the platform'}"
    yield "prompt"
    yield from (f"  {_line(line, PROMPT_LINE)}".rstrip() for line in version.prompt.split("\n"))


def diff_lines(diff: VersionDiff) -> Iterator[str]:
    """Prompt, policy and routing, each with its old and new."""
    yield from diff.prompt or ["The prompts are the same."]
    for key, (old, new) in diff.policy.items():
        yield f"-policy {key} {_told(old)}"
        yield f"+policy {key} {_told(new)}"
    if diff.routing is not None:
        yield f"-routing {_told(diff.routing[0])}"
        yield f"+routing {_told(diff.routing[1])}"


def act_line(act: Act) -> str:
    """One act on an agent: when, who, what, why."""
    changed = act.after
    if isinstance(act.after, dict) and isinstance(act.before, dict):
        changed = {key: value for key, value in act.after.items() if act.before.get(key) != value}
    told = ", ".join(f"{key} {_told(value)}" for key, value in (changed or {}).items())
    return _line(
        f"{act.at:%Y-%m-%d %H:%M} UTC  {act.actor:<12} {act.act.removeprefix('agent.'):<9} {told}  {act.note or ''}",
        400,
    ).rstrip()


def _told(value: Any) -> str:
    return "not set" if value is None else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _line(text: str, limit: int = 200) -> str:
    from engine.observe import one_line

    return one_line(text, limit)
