"""What an operator does and asks from the command line: replay, takeover, release, explain, export, service."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.command import (
    HIGHEST_ID,
    Id,
    Json,
    agreed,
    moment,
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
    from engine.operator.bulk import Acted
    from engine.operator.replay import ReplayFilter
    from engine.settings import Settings

acts = typer.Typer(rich_markup_mode=None)

LONGEST_MINUTES = 60 * 24 * 365


class What(StrEnum):
    MESSAGES = "messages"
    TURNS = "turns"
    AUDIT = "audit"


class Form(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"


Since = Annotated[
    datetime | None,
    typer.Option(
        parser=moment, metavar="TIME", help="From then on: 2026-03-14T12:00 (UTC), or an age like 2h."
    ),
]
Until = Annotated[datetime | None, typer.Option(parser=moment, metavar="TIME", help="Before then.")]
Channel = Annotated[str | None, typer.Option(help="Of this channel only.")]


@acts.command()
def replay(
    message_ids: Annotated[
        list[int] | None, typer.Argument(metavar="MESSAGE_ID", min=1, max=HIGHEST_ID, show_default=False)
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            help="inbound_error (what a filter means by itself) or inbound_human_takeover; repeatable."
        ),
    ] = None,
    channel: Channel = None,
    since: Since = None,
    until: Until = None,
    reason: Annotated[str | None, typer.Option(help="How the reason begins, e.g. llm.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="One message: what the AI would say now beside then; sends nothing."),
    ] = False,
    json: Json = False,
) -> None:
    """Have the AI answer failed or parked messages again, named by id or by a filter. Customers get the replies.

    Says how many and asks first. Exits 0 only if every one was replayed. A dry run costs one LLM call.

    Example: switchboard replay --since 2h --reason llm.
    """
    given = {"status": status, "channel": channel, "since": since, "until": until, "reason": reason}
    conditions = {name: value for name, value in given.items() if value}
    ids = list(dict.fromkeys(message_ids or []))
    if bool(ids) == bool(conditions):
        usage("Name either message ids or a filter (--status, --channel, --since, --until, --reason).")
    if dry_run and len(ids) != 1:
        usage("--dry-run goes with exactly one message id.")
    which = _filter(conditions) if conditions else None
    from engine.supervisor import Database

    settings = settings_in_force()
    with Database.open(settings) as database:
        if dry_run:
            raise typer.Exit(_dry_run(database.dsn, settings, ids[0], json=json))
        acted = _replay(database.dsn, ids, which, yes=yes)
    from console.plain_acts import acted_lines

    if json:
        print_json(acted)
    else:
        say(acted_lines(acted))
    raise typer.Exit(FAILED if acted.skipped else FINE)


def _filter(conditions: dict[str, Any]) -> ReplayFilter:
    from engine.operator.replay import REPLAYABLE, ReplayFilter

    if unknown := [name for name in conditions.get("status", []) if name not in set(REPLAYABLE)]:
        usage(f"--status {unknown[0]} cannot be replayed; it is one of: {', '.join(sorted(REPLAYABLE))}.")
    return ReplayFilter(**conditions)


def _replay(dsn: str, ids: list[int], which: ReplayFilter | None, *, yes: bool) -> Acted:
    """What is counted is what is replayed, however much comes to match while the person thinks."""
    from engine.operator.bulk import LIMIT
    from engine.operator.replay import matching, requeue

    operator = operator_here()
    if which is not None:
        filtered = which
        ids = with_pool(dsn, lambda pool: matching(pool, filtered))
    more = " (the oldest; there may be more)" if which is not None and len(ids) == LIMIT else ""
    count = f"{len(ids)} message{'' if len(ids) == 1 else 's'}{more}"
    if ids and not yes and not agreed(f"{count} will be answered again by the AI. Go on?"):
        say("Nothing was changed.", error=True)
        raise typer.Exit(FAILED)
    note = which.model_dump_json(exclude_none=True) if which is not None else None
    return with_pool(dsn, lambda pool: requeue(pool, operator, ids, note=note))


def _dry_run(dsn: str, settings: Settings, message_id: int, *, json: bool) -> int:
    from console.plain_acts import dry_run_lines
    from engine.observe.feed import Pool
    from engine.operator.dry_run import DryRun, dry_run
    from engine.operator.rehearsal import rehearsal

    async def run(pool: Pool) -> DryRun:
        async with rehearsal(pool, settings) as runner:
            return await dry_run(pool, operator_here(), runner, message_id)

    told = with_pool(dsn, run)
    if json:
        print_json(told)
    else:
        say(dry_run_lines(told))
    return FAILED if told.new.outcome in ("error", "retry") else FINE


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
    form: Annotated[Form, typer.Option("--format", help="A JSON object a line, or a table.")] = Form.JSONL,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A new file, which only you can read; else stdout.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the count as JSON; with --output.")] = False,
) -> None:
    """Write messages, turns or the audit log to a file or to stdout, the oldest first.

    Turns count from when they finished. Cells of a CSV are made safe for spreadsheets.

    Example: switchboard export messages --since 7d --format csv --output week.csv
    """
    from engine.observe.export import STATUSES, Exported, ExportFilter, new_file
    from engine.observe.export import export as write
    from engine.supervisor import Database

    if json and output is None:
        usage("--json goes with --output; without it the export itself is on stdout.")
    if what is What.AUDIT and (channel or status):
        usage("--channel and --status are for messages and turns.")
    if status and status not in STATUSES[what.value]:
        usage(f"--status {status} is not one of: {', '.join(sorted(STATUSES[what.value]))}.")
    which = ExportFilter(since=since, until=until, channel=channel, status=status)
    with (
        Database.open(settings_in_force()) as database,
        new_file(output) if output else stdout_bytes() as out,
    ):
        rows = with_pool(database.dsn, lambda pool: write(pool, what.value, which, form.value, out))
    if json:
        print_json(Exported(what=what.value, rows=rows, file=output))
    else:
        say(f"{rows} {what.value} exported{f' to {output}' if output else ''}", error=True)


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
