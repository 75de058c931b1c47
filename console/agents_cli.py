"""`switchboard agents`: prompts and policies in versions, what they differ in, and the way back."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.command import (
    HIGHEST_ID,
    Id,
    Json,
    Reason,
    file_text,
    operator_here,
    print_json,
    settings_in_force,
    stdout_bytes,
    usage,
    with_pool,
)
from console.plain import say

if TYPE_CHECKING:
    from engine.observe.feed import Pool
    from engine.operator.agent_versions import AgentVersion
    from engine.operator.agents import AgentState

agents = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
"""Goes under the name `agents`."""

VERSION_LIMIT = 2**31 - 1
Version = Annotated[int, typer.Argument(min=1, max=VERSION_LIMIT)]
SomeFile = Annotated[Path | None, typer.Option(metavar="FILE", help="A file; - is standard input.")]


class Switch(StrEnum):
    ON = "on"
    OFF = "off"


@agents.callback()
def about() -> None:
    """Agents: list, show, versions, diff, set, rollback, suggest, enable.

    A version is never changed: a new one takes its place, or an old one again. Engines take it over at once.

    Example: switchboard agents set 1 --prompt prompt.txt --reason "opening hours"
    """


@agents.command("list")
def list_them(
    tenant: Annotated[int | None, typer.Option(min=1, max=HIGHEST_ID, help="Of this tenant only.")] = None,
    json: Json = False,
) -> None:
    """List the agents.

    Example: switchboard agents list
    """
    from console.plain_agents import agent_line
    from engine.operator.agents import list_agents
    from engine.supervisor import Database

    with Database.open(settings_in_force()) as database:
        found = with_pool(database.dsn, lambda pool: list_agents(pool, tenant))
    if json:
        print_json(found)
    else:
        say([agent_line(agent) for agent in found] or "There is no agent.")


@agents.command()
def show(
    agent_id: Id,
    version: Annotated[
        int | None, typer.Option(min=1, max=VERSION_LIMIT, help="Another one than the active one.")
    ] = None,
    prompt: Annotated[bool, typer.Option("--prompt", help="Print the prompt alone, to edit it.")] = False,
    json: Json = False,
) -> None:
    """Show an agent's prompt, policy and routing, who wrote them, when and why.

    Example: switchboard agents show 1 --prompt > prompt.txt
    """
    if prompt and json:
        usage("Give either --prompt or --json.")
    from console.plain_agents import version_lines
    from engine.operator.agent_versions import read_version
    from engine.operator.agents import read_agent
    from engine.supervisor import Database

    async def act(pool: Pool) -> tuple[AgentState, AgentVersion]:
        agent = await read_agent(pool, agent_id)
        return agent, await read_version(pool, agent_id, version or agent.active_version)

    with Database.open(settings_in_force()) as database:
        agent, found = with_pool(database.dsn, act)
    if json:
        print_json(found)
    elif prompt and not sys.stdout.isatty():
        with stdout_bytes() as out:  # to the letter, since it comes back by `set`
            out.write(found.prompt.encode())
    elif prompt:
        say(found.prompt.split("\n"))
    else:
        say(version_lines(agent, found))


@agents.command()
def versions(agent_id: Id, json: Json = False) -> None:
    """List an agent's versions, the newest first: who wrote them, when and why.

    Example: switchboard agents versions 1
    """
    from console.plain_agents import version_line
    from engine.operator.agent_versions import list_versions
    from engine.supervisor import Database

    with Database.open(settings_in_force()) as database:
        found = with_pool(database.dsn, lambda pool: list_versions(pool, agent_id))
    if json:
        print_json(found)
    else:
        say(version_line(version) for version in found)


@agents.command()
def history(
    agent_id: Id,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Changes at most, the newest first.")] = 30,
    json: Json = False,
) -> None:
    """List what was done with an agent: versions, rollbacks, switches; by whom and why.

    Example: switchboard agents history 1
    """
    from console.plain_agents import act_line
    from engine.observe.records import acts
    from engine.supervisor import Database

    subject = f"agent:{agent_id}"
    with Database.open(settings_in_force()) as database:
        found = with_pool(database.dsn, lambda pool: acts(pool, subject=subject, limit=limit))
    if json:
        print_json(found)
    else:
        say([act_line(act) for act in found] or "Nothing has been done with it yet.")


@agents.command()
def diff(agent_id: Id, old: Version, new: Version, json: Json = False) -> None:
    """Tell what two versions differ in: prompt, policy and routing.

    Example: switchboard agents diff 1 2 3
    """
    from console.plain_agents import diff_lines
    from engine.operator.agent_versions import diff_versions
    from engine.supervisor import Database

    with Database.open(settings_in_force()) as database:
        found = with_pool(database.dsn, lambda pool: diff_versions(pool, agent_id, old, new))
    if json:
        print_json(found)
    else:
        say(diff_lines(found))


@agents.command("set")
def set_version(
    agent_id: Id,
    reason: Reason,
    prompt: SomeFile = None,
    policy: SomeFile = None,
    routing: SomeFile = None,
    platform_routing: Annotated[
        bool, typer.Option("--platform-routing", help="Take the agent's own routing away.")
    ] = False,
    inactive: Annotated[
        bool, typer.Option("--inactive", help="Keep it without letting it answer, e.g. for what-if.")
    ] = False,
    json: Json = False,
) -> None:
    """Make a new version from the active one and from files: a prompt as text, policy and routing as JSON.

    Example: switchboard agents set 1 --prompt prompt.txt --policy policy.json --reason "shorter answers"
    """
    if routing is not None and platform_routing:
        usage("Give either --routing or --platform-routing.")
    given = [path for path in (prompt, policy, routing) if path is not None]
    if not given and not platform_routing:
        usage("Say what is new: --prompt, --policy, --routing or --platform-routing.")
    if sum(str(path) == "-" for path in given) > 1:
        usage("Standard input is read once: only one of the files can be -.")
    from console.plain_agents import version_line
    from engine.operator.agent_versions import KEEP, new_agent_version, read_version
    from engine.operator.in_words import parse_policy
    from engine.supervisor import Database

    parts: dict[str, Any] = {
        "prompt": KEEP if prompt is None else file_text(prompt, "--prompt"),
        "policy": KEEP if policy is None else parse_policy(file_text(policy, "--policy")),
        "routing": None if platform_routing else KEEP,
    }
    if routing is not None:
        parts["routing"] = _routing(routing)
    operator = operator_here()

    async def act(pool: Pool) -> AgentVersion:
        made = await new_agent_version(pool, operator, agent_id, **parts, note=reason, activate=not inactive)
        return await read_version(pool, agent_id, made)

    with Database.open(settings_in_force()) as database:
        made = with_pool(database.dsn, act)
    if json:
        print_json(made)
    else:
        say(version_line(made))


def _routing(path: Path) -> str:
    """A routing as it is typed. An empty file is no routing, where the default one may not be meant."""
    text = file_text(path, "--routing")
    if not text.strip():
        usage(f"--routing: {path} is empty; --platform-routing takes the agent's own routing away.")
    return text


@agents.command()
def rollback(agent_id: Id, version: Version, reason: Reason, json: Json = False) -> None:
    """Let an earlier version answer again.

    Example: switchboard agents rollback 1 2 --reason "version 3 promised discounts"
    """
    from console.plain_agents import version_line
    from engine.operator.agent_versions import read_version
    from engine.operator.agent_versions import rollback as roll_back
    from engine.supervisor import Database

    operator = operator_here()

    async def act(pool: Pool) -> AgentVersion:
        await roll_back(pool, operator, agent_id, version, note=reason)
        return await read_version(pool, agent_id, version)

    with Database.open(settings_in_force()) as database:
        done = with_pool(database.dsn, act)
    if json:
        print_json(done)
    else:
        say(version_line(done))


@agents.command()
def suggest(
    agent_id: Id,
    switch: Annotated[
        Switch, typer.Argument(help="on: it drafts, a person sends. off: it replies by itself.")
    ],
    reason: Annotated[str | None, typer.Option("--reason", "-r", help="A word for the audit log.")] = None,
    json: Json = False,
) -> None:
    """Have an agent only suggest: it drafts, and a person sends.

    Example: switchboard agents suggest 1 on --reason "new menu, I read along"
    """
    _update(agent_id, json=json, note=reason, mode="suggest" if switch is Switch.ON else "auto")


@agents.command()
def enable(
    agent_id: Id,
    switch: Annotated[Switch, typer.Argument(help="off: what comes for it goes to people.")],
    reason: Annotated[str | None, typer.Option("--reason", "-r", help="A word for the audit log.")] = None,
    json: Json = False,
) -> None:
    """Switch an agent on or off.

    Example: switchboard agents enable 1 off
    """
    _update(agent_id, json=json, note=reason, enabled=switch is Switch.ON)


def _update(agent_id: int, *, json: bool, **change: Any) -> None:
    from console.plain_agents import agent_line
    from engine.operator.agents import update_agent
    from engine.supervisor import Database

    operator = operator_here()
    with Database.open(settings_in_force()) as database:
        done = with_pool(database.dsn, lambda pool: update_agent(pool, operator, agent_id, **change))
    if json:
        print_json(done)
    else:
        say(agent_line(done))
