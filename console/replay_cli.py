"""`switchboard replay`: the AI answers again what failed, or says what it would answer now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.command import (
    HIGHEST_ID,
    Channel,
    Json,
    Since,
    Until,
    agreed,
    operator_here,
    print_json,
    settings_in_force,
    usage,
    with_pool,
)
from console.main import FAILED, FINE
from console.plain import say
from console.what_if_cli import Agent, Asked, Prompt, Route, Routing, Version, over

if TYPE_CHECKING:
    from engine.observe.feed import Pool
    from engine.operator.bulk import Acted
    from engine.operator.replay import ReplayFilter
    from engine.settings import Settings

replays = typer.Typer(rich_markup_mode=None)


@replays.command()
def replay(
    message_ids: Annotated[
        list[int] | None, typer.Argument(metavar="MESSAGE_ID", min=1, max=HIGHEST_ID, show_default=False)
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            help="inbound_error (what a filter means by itself) or inbound_human_takeover; for --dry-run any; "
            "repeatable."
        ),
    ] = None,
    channel: Channel = None,
    since: Since = None,
    until: Until = None,
    reason: Annotated[str | None, typer.Option(help="How the reason begins, e.g. llm.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="What the AI would say now beside then; sends nothing."),
    ] = False,
    agent: Agent = None,
    version: Version = None,
    prompt: Prompt = None,
    routing: Routing = None,
    route: Route = None,
    json: Json = False,
) -> None:
    """Have the AI answer failed or parked messages again, named by id or by a filter. Customers get the replies.

    Says how many and asks first. Exits 0 only if every one was replayed.

    A dry run costs one LLM call a message. Over several, or with --agent, --version, --prompt, --routing or --route,
    it is a what-if: it asks with an estimate, and is kept (switchboard what-if --list).

    Example: switchboard replay --since 2h --reason llm.
    """
    given = {"status": status, "channel": channel, "since": since, "until": until, "reason": reason}
    conditions = {name: value for name, value in given.items() if value}
    ids = list(dict.fromkeys(message_ids or []))
    if bool(ids) == bool(conditions):
        usage("Name either message ids or a filter (--status, --channel, --since, --until, --reason).")
    tried = Asked(agent, version, prompt, routing, tuple(route or ()))
    if tried.anything and not dry_run:
        usage("--agent, --version, --prompt, --routing and --route go with --dry-run.")
    if dry_run and (tried.anything or len(ids) != 1):
        raise typer.Exit(_what_if(tried, ids, conditions, yes=yes, json=json))
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


def _what_if(tried: Asked, ids: list[int], conditions: dict[str, Any], *, yes: bool, json: bool) -> int:
    """A dry run over several messages, or of something else than what is in force."""
    from engine.operator.replay import MessageFilter, matching
    from engine.operator.what_if import MOST
    from engine.operator.what_if_estimate import eligible
    from engine.supervisor import Database

    known = MessageFilter().status
    if unknown := [name for name in conditions.get("status", []) if name not in known]:
        usage(f"--status {unknown[0]} is not one of: {', '.join(sorted(known))}.")
    which = MessageFilter(**conditions, limit=MOST)

    async def find(pool: Pool, agent: int) -> list[int]:
        return await eligible(pool, agent, ids or await matching(pool, which))

    told = [f"message {number}" for number in ids[:20]] or [
        f"{name} {value}" for name, value in which.model_dump(include=set(conditions), mode="json").items()
    ]
    settings = settings_in_force()
    with Database.open(settings) as database:
        return over(database.dsn, settings, tried, find, ", ".join(told), yes=yes, json=json)


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
