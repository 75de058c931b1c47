"""`switchboard what-if`: another version of an agent over messages of the past, before it answers customers."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.command import (
    HIGHEST_ID,
    agreed,
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

what_ifs = typer.Typer(rich_markup_mode=None)


class Form(StrEnum):
    TEXT = "text"
    JSON = "json"
    CSV = "csv"


@what_ifs.command("what-if")
def what_if(
    agent: Annotated[int | None, typer.Option(min=1, max=HIGHEST_ID, help="The agent.")] = None,
    version: Annotated[
        int | None, typer.Option(min=1, max=2**31 - 1, help="Its version to try; it need not be active.")
    ] = None,
    words: Annotated[
        str, typer.Option("--filter", help="Which messages, as in the console: status: channel: words …")
    ] = "status:answered",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="The newest so many.")] = 100,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    show: Annotated[int | None, typer.Option(min=1, max=HIGHEST_ID, help="Look at one again.")] = None,
    resume: Annotated[
        int | None, typer.Option(min=1, max=HIGHEST_ID, help="Go on with a paused one.")
    ] = None,
    cancel: Annotated[
        int | None, typer.Option(min=1, max=HIGHEST_ID, help="End one; what has run is kept.")
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List what was tried.")] = False,
    form: Annotated[Form, typer.Option("--format", help="What is printed in the end.")] = Form.TEXT,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new file, which only you can read; else stdout.")
    ] = None,
) -> None:
    """Try a version of an agent over past messages; nothing is sent. Says the likely cost and asks first.

    Ctrl+C pauses it once the calls under way are recorded. Exits 0 when it ran to its end without failures.

    Example: switchboard what-if --agent 1 --version 3 --filter "status:answered channel:telegram" --limit 200
    """
    asked = [value for value in (show, resume, cancel, list_all or None) if value is not None]
    if len(asked) > 1 or (asked and agent) or (not asked and not (agent and version)):
        usage("Give --agent and --version, or one of --show, --resume, --cancel, --list.")
    from engine.supervisor import Database

    settings = settings_in_force()
    with Database.open(settings) as database:
        if list_all:
            raise typer.Exit(_list(database.dsn, form))
        if show is not None:
            raise typer.Exit(_tell(database.dsn, show, form, output))
        if cancel is not None:
            raise typer.Exit(_cancel(database.dsn, cancel))
        if resume is not None:
            what_if_id = resume
        else:
            assert agent is not None
            assert version is not None
            what_if_id = _start(database.dsn, agent, version, words, limit, yes=yes)
        _run(database.dsn, settings, what_if_id)
        raise typer.Exit(_tell(database.dsn, what_if_id, form, output))


def _start(dsn: str, agent: int, version: int, words: str, limit: int, *, yes: bool) -> int:
    """Find the messages, ask, and store the what-if."""
    from console.plain_what_if import estimate_line
    from engine.observe.search import SearchError, parse_search
    from engine.observe.views import matching_ids
    from engine.operator.what_if import Estimate, create, eligible, estimate

    try:
        search = parse_search(words)
    except SearchError as error:
        usage(f"--filter: {error}")

    async def find(pool: Pool) -> tuple[list[int], Estimate]:
        ids = await eligible(pool, agent, await matching_ids(pool, search, limit))
        return ids, await estimate(pool, ids)

    ids, expected = with_pool(dsn, find)
    if ids:
        say(estimate_line(expected), error=True)
        if not yes and not agreed("Nothing is sent to customers. Go on?"):
            say("Nothing was run.", error=True)
            raise typer.Exit(FAILED)
    return with_pool(dsn, lambda pool: create(pool, operator_here(), agent, version, ids, words)).id


def _run(dsn: str, settings: Settings, what_if_id: int) -> None:
    from engine.operator.what_if import run, set_state

    operator, terminal = operator_here(), sys.stderr.isatty()

    def progress(done: int, of: int) -> None:
        if terminal:
            typer.echo(f"\r{done} of {of}", nl=done == of, err=True)

    async def act(pool: Pool) -> WhatIf:
        what_if = await set_state(pool, operator, what_if_id, "running")
        return await run(pool, operator, settings, what_if, progress=progress)

    with_pool(dsn, act)


def _cancel(dsn: str, what_if_id: int) -> int:
    from console.plain_what_if import what_if_line
    from engine.operator.what_if import set_state

    say(what_if_line(with_pool(dsn, lambda pool: set_state(pool, operator_here(), what_if_id, "cancelled"))))
    return FINE


def _list(dsn: str, form: Form) -> int:
    import json

    from console.plain_what_if import what_if_line
    from engine.observe import safe_json
    from engine.operator.what_if import list_what_ifs

    found = with_pool(dsn, list_what_ifs)
    if form is Form.CSV:
        usage("--list prints text or JSON.")
    if form is Form.JSON:
        typer.echo(safe_json(json.dumps([one.model_dump(mode="json") for one in found], indent=2)))
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
