"""`switchboard what-if`: another version, prompt or route over messages of the past, before it answers customers."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.command import (
    HIGHEST_ID,
    agreed,
    file_text,
    operator_here,
    print_json,
    settings_in_force,
    stdout_bytes,
    usage,
    with_pool,
)
from console.main import FAILED, FINE
from console.plain import say

if TYPE_CHECKING:
    from engine.observe.feed import Pool
    from engine.operator.what_if import WhatIf
    from engine.settings import Settings

    Find = Callable[[Pool, int], Awaitable[list[int]]]
    """The messages that an agent could answer, by its id."""

what_ifs = typer.Typer(rich_markup_mode=None)


class Form(StrEnum):
    TEXT = "text"
    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True)
class Asked:
    """What is to be tried, as it is given on the command line."""

    agent: int | None
    version: int | None
    prompt: Path | None
    routing: Path | None
    routes: tuple[str, ...]

    @property
    def anything(self) -> bool:
        return any((self.agent, self.version, self.prompt, self.routing, self.routes))


Agent = Annotated[
    int | None, typer.Option(min=1, max=HIGHEST_ID, help="The agent; where there is one only, that one.")
]
Version = Annotated[
    int | None,
    typer.Option(min=1, max=2**31 - 1, help="Its version to try, active or not; else the active one."),
]
Prompt = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Try this prompt in place of the version's.")
]
Routing = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Try this routing (JSON) in place of the one in force.")
]
Route = Annotated[
    list[str] | None,
    typer.Option(metavar="PROVIDER/MODEL", help="Try this route; repeatable, in the order they are tried."),
]
Shown = Annotated[int | None, typer.Option(min=1, max=HIGHEST_ID, help="Look at one again.")]
Resumed = Annotated[int | None, typer.Option(min=1, max=HIGHEST_ID, help="Go on with a paused one.")]
Paused = Annotated[int | None, typer.Option(min=1, max=HIGHEST_ID, help="Pause one that runs anywhere.")]
Cancelled = Annotated[int | None, typer.Option(min=1, max=HIGHEST_ID, help="End one; what has run is kept.")]


@what_ifs.command("what-if")
def what_if(
    agent: Agent = None,
    version: Version = None,
    prompt: Prompt = None,
    routing: Routing = None,
    route: Route = None,
    words: Annotated[
        str, typer.Option("--filter", help="Which messages, as in the console: status: channel: words …")
    ] = "status:answered",
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, help="The newest so many that the agent could answer.")
    ] = 100,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    show: Shown = None,
    resume: Resumed = None,
    pause: Paused = None,
    cancel: Cancelled = None,
    list_all: Annotated[bool, typer.Option("--list", help="List what was tried.")] = False,
    form: Annotated[Form, typer.Option("--format", help="What is printed in the end.")] = Form.TEXT,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new file, which only you can read; else stdout.")
    ] = None,
) -> None:
    """Try a version of an agent, a prompt or routes over past messages; nothing is sent. Says the likely cost first.

    Ctrl+C stops it once the calls under way are recorded; --resume goes on with it, --cancel ends it. Exits 0 when
    it ran to its end without failures.

    Example: switchboard what-if --agent 1 --prompt new.txt --filter "status:answered channel:telegram" --limit 200
    """
    tried = Asked(agent, version, prompt, routing, tuple(route or ()))
    asked = [value for value in (show, resume, pause, cancel, list_all or None) if value is not None]
    if len(asked) + tried.anything != 1:
        usage("Say what to try (--agent, --version, --prompt, --routing, --route), or give one of --show, --resume, "
              "--pause, --cancel, --list.")  # fmt: skip
    form = Form.JSON if json else form
    from engine.supervisor import Database

    settings = settings_in_force()
    with Database.open(settings) as database:
        if list_all:
            raise typer.Exit(_list(database.dsn, form))
        if show is not None:
            raise typer.Exit(_tell(database.dsn, show, form, output))
        if pause is not None or cancel is not None:
            raise typer.Exit(_move(database.dsn, pause, cancel, form))
        if resume is not None:
            what_if_id = resume
        else:
            what_if_id = _start(database.dsn, tried, _searched(words, limit), words, yes=yes)
        _run(database.dsn, settings, what_if_id)
        raise typer.Exit(_tell(database.dsn, what_if_id, form, output))


def over(dsn: str, settings: Settings, tried: Asked, find: Find, words: str, *, yes: bool, json: bool) -> int:
    """A what-if of the messages that `find` finds, from the question to the report; returns the exit code."""
    what_if_id = _start(dsn, tried, find, words, yes=yes)
    _run(dsn, settings, what_if_id)
    return _tell(dsn, what_if_id, Form.JSON if json else Form.TEXT, None)


def _searched(words: str, limit: int) -> Find:
    """The newest messages that match a search, as many as `limit`."""
    from engine.observe.search import SearchError, parse_search
    from engine.observe.views import matching_ids
    from engine.operator.what_if_estimate import newest_eligible

    try:
        search = parse_search(words)
    except SearchError as error:
        usage(f"--filter: {error}")
    return lambda pool, agent: newest_eligible(
        pool, agent, lambda reach: matching_ids(pool, search, reach), limit
    )


def _start(dsn: str, tried: Asked, find: Find, words: str, *, yes: bool) -> int:
    """Find the messages, ask, and store the what-if."""
    from console.plain_what_if import estimate_line
    from engine.operator.what_if import Trial, create
    from engine.operator.what_if_estimate import Estimate, estimate

    prompt = None if tried.prompt is None else file_text(tried.prompt, "--prompt")
    routing = _routing(tried)

    async def look(pool: Pool) -> tuple[Trial, list[int], Estimate]:
        agent, version = await _agent(pool, tried)
        trial = Trial(agent, version, prompt, routing).checked()
        ids = await find(pool, agent)
        return trial, ids, await estimate(pool, ids, trial.routing)

    trial, ids, expected = with_pool(dsn, look)
    if ids:
        say(estimate_line(expected), error=True)
        if not yes and not agreed("Nothing is sent to customers. Go on?"):
            say("Nothing was run.", error=True)
            raise typer.Exit(FAILED)
    return with_pool(dsn, lambda pool: create(pool, operator_here(), trial, ids, words)).id


async def _agent(pool: Pool, tried: Asked) -> tuple[int, int]:
    """The agent and its version; where none is named, the only agent and its active version."""
    from engine.operator.agents import list_agents, read_agent

    if tried.agent is not None:
        found = await read_agent(pool, tried.agent)
    else:
        agents = [agent for agent in await list_agents(pool) if agent.enabled]
        if len(agents) != 1:
            usage(f"There are {len(agents)} agents: say which with --agent.")
        found = agents[0]
    return found.id, tried.version or found.active_version


def _routing(tried: Asked) -> Any:
    """Routes to try, as JSON; KEEP for those of the version."""
    from engine.operator.agent_versions import KEEP

    if tried.routing is not None and tried.routes:
        usage("Give either --routing or --route.")
    if tried.routing is not None:
        text = file_text(tried.routing, "--routing")
        return text if text.strip() else usage(f"--routing: {tried.routing} is empty.")
    routes = []
    for name in tried.routes:
        provider, slash, model = name.partition("/")
        if not slash or not model:
            usage(f"{name} is not PROVIDER/MODEL, like uniapi/gemini-3-flash-preview.")
        routes.append({"provider": provider, "model": model})
    return {"default": routes} if routes else KEEP


def _run(dsn: str, settings: Settings, what_if_id: int) -> None:
    from engine.operator.what_if import set_state
    from engine.operator.what_if_run import run

    operator, terminal = operator_here(), sys.stderr.isatty()

    def progress(done: int, of: int) -> None:
        if terminal:
            typer.echo(f"\r{done} of {of}", nl=done == of, err=True)

    async def act(pool: Pool) -> WhatIf:
        what_if = await set_state(pool, operator, what_if_id, "running")
        return await run(pool, operator, settings, what_if, progress=progress)

    try:
        with_pool(dsn, act)
    except SystemExit:  # by a signal; what was paid for is recorded
        goes_on = f"switchboard what-if --resume {what_if_id}"
        say(f"Stopped, and what has run is kept. Go on: {goes_on} (or --show, --cancel)", error=True)
        raise


def _move(dsn: str, pause: int | None, cancel: int | None, form: Form) -> int:
    """Pause or cancel, whoever runs it."""
    from console.plain_what_if import what_if_line
    from engine.operator.what_if import State, set_state

    state: State = "paused" if pause is not None else "cancelled"
    chosen = pause if pause is not None else cancel
    assert chosen is not None
    moved = with_pool(dsn, lambda pool: set_state(pool, operator_here(), chosen, state))
    if form is Form.JSON:
        print_json(moved)
    else:
        say(what_if_line(moved))
    return FINE


def _list(dsn: str, form: Form) -> int:
    from console.plain_what_if import what_if_line
    from engine.operator.what_if import list_what_ifs

    found = with_pool(dsn, list_what_ifs)
    if form is Form.CSV:
        usage("--list prints text or JSON.")
    if form is Form.JSON:
        print_json(found)
    else:
        say([what_if_line(one) for one in found] or "No version has been tried yet.")
    return FINE


def _tell(dsn: str, what_if_id: int, form: Form, output: Path | None) -> int:
    """Print or write the results; the exit code says whether all of it ran."""
    from console.plain_what_if import report_lines
    from engine.observe import safe_json
    from engine.observe.export import new_file
    from engine.operator.what_if_results import as_csv, report

    told = with_pool(dsn, lambda pool: report(pool, what_if_id))
    if output is None and form is Form.JSON:
        print_json(told)
    elif output is None and form is Form.TEXT:
        say(report_lines(told))
    else:
        whole = {
            Form.CSV: lambda: as_csv(told.results),
            Form.JSON: lambda: safe_json(told.model_dump_json(indent=2)),
            Form.TEXT: lambda: "\n".join(report_lines(told)) + "\n",
        }[form]()
        with new_file(output) if output else stdout_bytes() as out:
            out.write(whole.encode())
    fine = told.what_if.state == "done" and not told.summary.verdicts["failed"]
    return FINE if fine else FAILED
