"""What an operator does and asks from the command line: takeover, release, explain, export, service."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.command import (
    Channel,
    Id,
    Json,
    Since,
    Until,
    operator_here,
    print_json,
    settings_in_force,
    stdout_bytes,
    usage,
    with_pool,
)
from console.plain import say

if TYPE_CHECKING:
    from engine.observe.search import MessageSearch

acts = typer.Typer(rich_markup_mode=None)

LONGEST_MINUTES = 60 * 24 * 365


class What(StrEnum):
    MESSAGES = "messages"
    TURNS = "turns"
    AUDIT = "audit"


class Form(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"


@acts.command()
def takeover(
    thread_id: Id,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.1, max=LONGEST_MINUTES, help="The AI answers again after this long; 30 by itself."
        ),
    ] = None,
    for_good: Annotated[bool, typer.Option("--for-good", help="Until somebody releases it.")] = False,
    reason: Annotated[str | None, typer.Option(help="A word for the audit log.")] = None,
    json: Json = False,
) -> None:
    """Answer a conversation yourself: nothing more of the AI starts to leave.

    Example: switchboard takeover 12 --minutes 60 --reason "complaint"
    """
    if for_good and minutes is not None:
        usage("Give either --minutes or --for-good.")
    from console.plain_acts import takeover_lines
    from engine.operator.takeover import AUTO_RELEASE_MINUTES, take_over
    from engine.supervisor import Database

    timer = None if for_good else AUTO_RELEASE_MINUTES if minutes is None else minutes
    settings = settings_in_force()
    operator = operator_here()
    with Database.open(settings) as database:
        taken = with_pool(
            database.dsn,
            lambda pool: take_over(pool, operator, thread_id, auto_release_minutes=timer, reason=reason),
        )
    if json:
        print_json(taken)
    else:
        say(takeover_lines(taken, operator.name))


@acts.command()
def release(
    thread_id: Id,
    answer_waiting: Annotated[
        bool, typer.Option("--answer-waiting", help="The AI also answers what nobody has answered meanwhile.")
    ] = False,
    json: Json = False,
) -> None:
    """Give a conversation back to the AI. Exits 0 too when it had it already.

    Example: switchboard release 12 --answer-waiting
    """
    from console.plain_acts import release_line
    from engine.operator.takeover import release
    from engine.supervisor import Database

    settings = settings_in_force()
    operator = operator_here()
    with Database.open(settings) as database:
        done = with_pool(
            database.dsn,
            lambda pool: release(pool, operator, thread_id, answer_waiting=answer_waiting),
        )
    if json:
        print_json(done)
    else:
        say(release_line(done))


@acts.command()
def explain(message_id: Id, json: Json = False) -> None:
    """Tell why a message has no reply, or why this one: its route, its time, its cost, and what to do.

    Example: switchboard explain 4711
    """
    from console.plain_acts import explanation_lines
    from engine.observe.explain import explanation
    from engine.supervisor import Database

    with Database.open(settings_in_force()) as database:
        told = with_pool(database.dsn, lambda pool: explanation(pool, message_id))
    if json:
        print_json(told)
    else:
        say(explanation_lines(told))


@acts.command()
def export(
    what: Annotated[What, typer.Argument()],
    since: Since = None,
    until: Until = None,
    channel: Channel = None,
    status: Annotated[str | None, typer.Option(help="Delivery status; of turns, the outcome.")] = None,
    words: Annotated[
        str | None,
        typer.Option("--filter", help="Messages as the console finds them: tenant: reason: thread: words …"),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="A JSON object a line, or a table.")] = Form.JSONL,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new file, which only you can read; else stdout.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the count as JSON; with --output.")] = False,
) -> None:
    """Write messages, turns or the audit log to a file or to stdout, the oldest first.

    Turns count from when they finished. Cells of a CSV are made safe for spreadsheets.

    Example: switchboard export messages --filter "tenant:2 reason:llm." --since 7d --format csv --output week.csv
    """
    from engine.observe.export import STATUSES, Exported, ExportFilter, new_file
    from engine.observe.export import export as write
    from engine.supervisor import Database

    if json and output is None:
        usage("--json goes with --output; without it the export itself is on stdout.")
    if what is What.AUDIT and (channel or status):
        usage("--channel and --status are for messages and turns.")
    if words is not None and what is not What.MESSAGES:
        usage("--filter is for messages.")
    if status and status not in STATUSES[what.value]:
        usage(f"--status {status} is not one of: {', '.join(sorted(STATUSES[what.value]))}.")
    search = None if words is None else _search(words)
    which = ExportFilter(since=since, until=until, channel=channel, status=status, search=search)
    with (
        Database.open(settings_in_force()) as database,
        new_file(output) if output else stdout_bytes() as out,
    ):
        rows = with_pool(database.dsn, lambda pool: write(pool, what.value, which, form.value, out))
    if json:
        print_json(Exported(what=what.value, rows=rows, file=output))
    else:
        named = "acts" if what is What.AUDIT else what.value
        say(f"{rows} {named} exported{f' to {output}' if output else ''}", error=True)


def _search(words: str) -> MessageSearch:
    from engine.observe.search import SearchError, parse_search

    try:
        return parse_search(words)
    except SearchError as error:
        usage(f"--filter: {error}")


@acts.command()
def service(
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes of the engine.")] = 1,
    environment_file: Annotated[
        Path, typer.Option(help="Where the service reads keys and DATABASE_URL from.")
    ] = Path("/etc/switchboard/environment"),
) -> None:
    """Print a systemd unit that runs `switchboard engine` as you, from this folder. Installs nothing.

    Example: switchboard service | sudo tee /etc/systemd/system/switchboard.service
    """
    from console.unit import unit_lines

    say(unit_lines(settings_in_force(), workers=workers, environment_file=environment_file))
