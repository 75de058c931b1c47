"""`switchboard setup`: the questions of the console's set-up, on the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from console.command import agreed, finish, operator_here, settings_in_force, usage, with_pool
from console.main import FAILED, FINE, USAGE
from console.plain import check_lines, say

if TYPE_CHECKING:
    from engine.observe.setup_check import Check
    from engine.operator.setup import Draft, Part
    from engine.settings import Settings

setups = typer.Typer(rich_markup_mode=None)


@setups.command()
def setup(
    part: Annotated[
        str,
        typer.Argument(help="uniapi, zai, telegram, whatsapp_cloud, waha or evolution.", show_default=False),
    ] = "",
    keep_anyway: Annotated[
        bool, typer.Option("--yes", help="Keep it even when the far end says no.")
    ] = False,
) -> None:
    """Connect a language model or a channel: asks what it needs, tries it, and keeps it in switchboard.toml.

    Without a part, tells what is set up. Without a terminal the answers are read from standard input, a
    line NAME=VALUE each; so no secret is ever an argument. Exits 0 when it is kept and works.

    Example: switchboard setup telegram
    """
    from engine.operator.setup import part_of, states

    settings = settings_in_force()
    if not part:
        for state in states(settings):
            how = (
                f"set by {state.by}"
                if state.by
                else ", ".join(state.accounts) or ("set" if state.ready else "")
            )
            say(f"{'✓' if state.ready else '○'} {state.part.id:<15} {how or state.part.about}")
        return
    chosen = part_of(part)
    made = _draft(chosen)
    check = finish(_check(made))
    say(check_lines(check))
    works = check.state != "fail"
    if not works and not keep_anyway and not (sys.stdin.isatty() and agreed("Keep it all the same?")):
        say("Nothing was kept.")
        raise typer.Exit(FAILED)
    _keep(made, settings)
    raise typer.Exit(FINE if works else FAILED)


def _draft(part: Part) -> Draft:
    from engine.operator.audit import BadInput
    from engine.operator.setup import draft

    try:
        return draft(part.id, _asked(part) if sys.stdin.isatty() else _given(part))
    except BadInput as error:
        say(f"switchboard: {error}", error=True)
        raise typer.Exit(USAGE) from None


def _asked(part: Part) -> dict[str, str]:
    from engine.operator.setup import kept_values

    kept = kept_values(part)
    return {
        question.name: typer.prompt(
            f"{question.title} ({question.how})" if question.how else question.title,
            default=kept.get(question.name, question.default),
            hide_input=question.secret,
            show_default=not question.secret,
        )
        for question in part.questions
    }


def _given(part: Part) -> dict[str, str]:
    names = [question.name for question in part.questions]
    given = {}
    for line in sys.stdin.read().splitlines():
        name, equals, value = line.partition("=")
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not equals or name.strip() not in names:
            usage(f"The lines are NAME=VALUE, and the names of {part.id} are {', '.join(names)}.")
        given[name.strip()] = value.strip()
    from engine.operator.setup import kept_values

    return kept_values(part) | {q.name: q.default for q in part.questions if q.default} | given


async def _check(made: Draft) -> Check:
    from engine.observe.setup_check import check_account, check_provider

    if made.part.channel:
        return await check_account(made.settings, made.part.id, made.account)
    return await check_provider(made.settings, made.part.id)


def _keep(made: Draft, settings: Settings) -> None:
    from engine.observe.feed import DatabaseError
    from engine.operator.setup import keep, what_then
    from engine.supervisor import Database

    operator = operator_here()
    try:
        with Database.open(settings) as database:
            path = with_pool(database.dsn, lambda pool: keep(made, operator, pool))
    except DatabaseError:  # there is nowhere to write down who did it
        path = finish(keep(made, operator, None))
    say(f"{made.part.title} is kept in {path}, which only you can read.")
    say(what_then(made.part, made.account))
    say("Engines that run read their settings at start: restart them.")
