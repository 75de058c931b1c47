"""`switchboard routing`: which provider and model answers which task; tried, changed, and put back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console.command import (
    HIGHEST_ID,
    Json,
    Reason,
    file_text,
    operator_here,
    print_json,
    settings_in_force,
    usage,
    with_pool,
)
from console.main import FAILED, FINE
from console.plain import say

if TYPE_CHECKING:
    from engine.observe.feed import Pool
    from engine.operator.configuration import Setting

routing = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
"""Goes under the name `routing`."""

ROUTING = "llm_routing_config"
File = Annotated[Path, typer.Argument(metavar="FILE", help="JSON; - is standard input.", show_default=False)]


@routing.callback()
def about() -> None:
    """Routing of language models: show, test, set, task, history, rollback. Engines take a change over at once.

    Example: switchboard routing task conversation uniapi/gemini-3-flash-preview zai/glm-4.7 --reason "fallback"
    """


@routing.command()
def show(
    value: Annotated[bool, typer.Option("--value", help="Print the JSON that set takes, alone.")] = False,
    json: Json = False,
) -> None:
    """Show the routing in words: by task the routes in the order they are tried, and prices.

    Example: switchboard routing show --value > routing.json
    """
    if value and json:
        usage("Give either --value or --json.")
    from console.plain_routing import routing_lines
    from engine.operator.in_words import routing_text
    from engine.supervisor import Database

    with Database.open(settings_in_force()) as database:
        setting = with_pool(database.dsn, _read)
    if json:
        print_json(setting)
    elif value:
        say(routing_text(setting.value).split("\n"))
    else:
        say(routing_lines(setting))


@routing.command("test")
def try_routes(
    file: Annotated[
        Path | None,
        typer.Option("--file", help="This routing in place of the one in force; - is standard input."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Ask every route once, alone: its answer, time, tokens and cost. Exits 0 only if all of them answered.

    The calls are real and cost a little.

    Example: switchboard routing test --file routing.json
    """
    from console.command import agreed
    from console.plain_routing import result_lines
    from engine.operator.routing_test import RouteResult, try_routing
    from engine.supervisor import Database

    text = None if file is None else file_text(file, "--file")
    settings = settings_in_force()
    operator = operator_here()
    if not yes and not agreed("Every route is called once, which costs a little. Go on?"):
        say("Nothing was called.", error=True)
        raise typer.Exit(FAILED)

    async def act(pool: Pool) -> list[RouteResult]:
        chosen = text if text is not None else (await _read(pool)).value
        told = (lambda _: None) if json else lambda result: say(result_lines(result))
        return await try_routing(pool, operator, settings, chosen, on_result=told)

    with Database.open(settings) as database:
        results = with_pool(database.dsn, act)
    if json:
        print_json(results)
    raise typer.Exit(FINE if all(result.ok for result in results) else FAILED)


@routing.command("set")
def set_routing(file: File, reason: Reason, json: Json = False) -> None:
    """Put a routing in force. A bad one is refused with its reason, and what was in force stays.

    Example: switchboard routing set routing.json --reason "cheaper model for chats"
    """
    text = file_text(file, "FILE")
    if not text.strip():
        usage(f"{file} is empty. The way back is: switchboard routing rollback")
    _store(lambda _: text, reason, json=json)


@routing.command()
def task(
    name: Annotated[
        str, typer.Argument(metavar="TASK", help="conversation, doctor, or default for the others.")
    ],
    routes: Annotated[
        list[str] | None,
        typer.Argument(metavar="PROVIDER/MODEL", show_default=False, help="In the order they are tried."),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the audit log.")] = "",
    timeout: Annotated[str | None, typer.Option(help="Seconds of one call, of each of these.")] = None,
    max_tokens: Annotated[str | None, typer.Option(help="Of an answer.")] = None,
    temperature: Annotated[str | None, typer.Option(help="From 0 to 2.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Have the task use the default routes.")] = False,
    json: Json = False,
) -> None:
    """Give one task its routes; the others stay. A route that was named before keeps its parameters.

    Example: switchboard routing task conversation uniapi/gpt-5-mini zai/glm-4.7 --timeout 15 --reason "faster"
    """
    if remove == bool(routes):
        usage("Name the routes as PROVIDER/MODEL, or give --remove.")
    if not reason.strip():
        usage("Say why with --reason.")
    if remove and name == "default":
        usage("The default routes cannot be removed, only replaced.")
    given = {"timeout_seconds": timeout, "max_tokens": max_tokens, "temperature": temperature}
    changes = {field: text for field, text in given.items() if text is not None}
    _store(lambda value: _with_task(value, name, routes or [], changes), reason, json=json)


def _with_task(value: Any, name: str, routes: list[str], changes: dict[str, str]) -> Any:
    """The routing with other routes for a task; without routes, with none of its own."""
    from engine.operator.routing_form import DEFAULT, TASKS, new_route, put_together, take_apart

    fields = take_apart(value)
    if routes and name not in (DEFAULT, *TASKS):
        say(f"Note: nothing asks for the task {name} today; tasks are {', '.join(TASKS)}.", error=True)
    known = {
        f"{row['provider']}/{row['model']}": row
        for rows in (*fields.tasks.values(), fields.tasks.get(name, []))
        for row in rows
    }
    rows = []
    for route in routes:
        provider, slash, model = route.partition("/")
        if not slash:
            usage(f"{route} is not PROVIDER/MODEL, like uniapi/gemini-3-flash-preview.")
        rows.append({**known.get(route, new_route(provider, model)), **changes})
    if rows:
        fields.tasks[name] = rows
    elif fields.tasks.pop(name, None) is None:
        usage(f"{name} has no routes of its own.")
    return put_together(fields)


def _store(made: Any, reason: str, *, json: bool) -> None:
    """Put in force what `made` makes of the routing in force."""
    from console.plain_routing import routing_lines
    from engine.operator.configuration import set_setting
    from engine.supervisor import Database

    operator = operator_here()

    async def act(pool: Pool) -> Setting:
        value = made((await _read(pool)).value)
        await set_setting(pool, operator, ROUTING, value, note=reason)
        return await _read(pool)

    with Database.open(settings_in_force()) as database:
        done = with_pool(database.dsn, act)
    if json:
        print_json(done)
    else:
        say(routing_lines(done))


@routing.command()
def history(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Changes at most, the newest first.")] = 30,
    json: Json = False,
) -> None:
    """List the changes and test calls: when, by whom, why, and what to.

    Example: switchboard routing history
    """
    from console.plain_routing import change_line
    from engine.observe.records import acts
    from engine.supervisor import Database

    with Database.open(settings_in_force()) as database:
        found = with_pool(database.dsn, lambda pool: acts(pool, subject=f"setting:{ROUTING}", limit=limit))
    if json:
        print_json(found)
    else:
        say([change_line(act) for act in found] or "It has never been changed.")


@routing.command()
def rollback(
    reason: Reason,
    to: Annotated[
        int | None,
        typer.Argument(
            min=1, max=HIGHEST_ID, metavar="CHANGE", show_default=False, help="Its number in the history."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Put back what a change had set; without one, what was in force before the newest change.

    Example: switchboard routing rollback 812 --reason "the new model is slow"
    """
    from console.plain_routing import routing_lines
    from engine.operator.configuration import put_back
    from engine.supervisor import Database

    operator = operator_here()

    async def act(pool: Pool) -> Setting:
        await put_back(pool, operator, ROUTING, to=to, note=reason)
        return await _read(pool)

    with Database.open(settings_in_force()) as database:
        done = with_pool(database.dsn, act)
    if json:
        print_json(done)
    else:
        say(routing_lines(done))


async def _read(pool: Pool) -> Setting:
    from engine.operator.configuration import get_settings

    return (await get_settings(pool))[ROUTING]
