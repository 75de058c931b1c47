"""Search, and what keeps conversations in order, from the command line: label, assign, snooze."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from console.command import (
    HIGHEST_ID,
    Id,
    Json,
    operator_here,
    print_json,
    settings_in_force,
    usage,
    with_pool,
)
from console.main import FAILED
from console.plain import say

if TYPE_CHECKING:
    from engine.observe.feed import Pool
    from engine.operator.labels import Labelled
    from engine.operator.snooze import Snoozed

desk = typer.Typer(rich_markup_mode=None)


@desk.command()
def search(
    words: Annotated[list[str], typer.Argument(metavar="WORDS", show_default=False)],
    limit: Annotated[int, typer.Option(min=1, max=200, help="Messages at most.")] = 20,
    before: Annotated[
        int | None, typer.Option(min=1, max=HIGHEST_ID, help="Go on with the messages before this id.")
    ] = None,
    json: Json = False,
) -> None:
    """Find messages by what was said, and conversations by name or number; the newest first.

    All words must be there; a word finds longer ones that begin so. Conditions narrow it: status: dir: channel:
    tenant: thread: provider: model: reason: cost>. Exits 1 when nothing is found.

    Example: switchboard search refund channel:telegram
    """
    from console.plain_desk import found_lines
    from engine.observe.finding import find
    from engine.observe.search import SearchError
    from engine.observe.views import TOP
    from engine.supervisor import Database

    typed = " ".join(words)
    with Database.open(settings_in_force()) as database:
        try:
            found = with_pool(database.dsn, lambda pool: find(pool, typed, before=before or TOP, limit=limit))
        except SearchError as error:
            usage(str(error))
    if json:
        print_json(found)
    else:
        for line in found_lines(found):  # not by `say`, which would take the marks out
            typer.echo(line)
    if not found.messages and not found.conversations:
        raise typer.Exit(FAILED)


@desk.command()
def label(
    thread_id: Id,
    add: Annotated[
        list[str] | None, typer.Argument(metavar="LABEL", show_default=False, help="To add.")
    ] = None,
    remove: Annotated[list[str] | None, typer.Option("--remove", help="To remove; repeatable.")] = None,
    json: Json = False,
) -> None:
    """Add labels to a conversation, or remove them; without any, tell which it has.

    Example: switchboard label 12 vip refund --remove urgent
    """
    from engine.operator.audit import NotFound
    from engine.operator.labels import Labelled, change_labels
    from engine.supervisor import Database

    async def act(pool: Pool) -> Labelled:
        from engine.observe.threads import thread_rows

        if add or remove:
            return await change_labels(pool, operator_here(), thread_id, add=add or (), remove=remove or ())
        rows = await thread_rows(pool, [thread_id])
        if not rows:
            raise NotFound(f"Thread {thread_id} does not exist.", "Look it up: switchboard search NAME")
        return Labelled(thread_id=thread_id, labels=tuple(rows[0].labels))

    settings = settings_in_force()
    with Database.open(settings) as database:
        done = with_pool(database.dsn, act)
    if json:
        print_json(done)
    else:
        say(f"Thread {thread_id}: {' '.join(f'#{name}' for name in done.labels) or 'no labels'}")


@desk.command()
def assign(
    thread_id: Id,
    to: Annotated[
        str | None, typer.Argument(metavar="NAME", show_default=False, help="Whose it is to be; else yours.")
    ] = None,
    nobody: Annotated[bool, typer.Option("--nobody", help="Make it nobody's.")] = False,
    json: Json = False,
) -> None:
    """Make a conversation yours, somebody else's, or nobody's. Who answers it stays as it is.

    Example: switchboard assign 12 otto
    """
    if nobody and to is not None:
        usage("Give either a name or --nobody.")
    from console.plain_desk import assigned_line
    from engine.operator.assignment import assign
    from engine.supervisor import Database

    settings = settings_in_force()
    operator = operator_here()
    name = None if nobody else operator.name if to is None else to
    with Database.open(settings) as database:
        done = with_pool(database.dsn, lambda pool: assign(pool, operator, thread_id, name))
    if json:
        print_json(done)
    else:
        say(assigned_line(done))


@desk.command()
def snooze(
    thread_id: Id,
    when: Annotated[
        list[str] | None,
        typer.Argument(metavar="WHEN", show_default=False, help="1h, 30m, 18:00, tomorrow 14:30, mon, …"),
    ] = None,
    wake: Annotated[bool, typer.Option("--wake", help="Have it back now.")] = False,
    json: Json = False,
) -> None:
    """Put a conversation off until a time, or until its customer writes. Times are the workspace's.

    Example: switchboard snooze 12 tomorrow 9:00
    """
    if bool(when) == wake:
        usage("Say until when (1h, tomorrow, 18:00), or --wake.")
    from console.plain_desk import snoozed_line
    from engine.operator.snooze import Here, here
    from engine.operator.snooze import snooze as put_off
    from engine.operator.snooze import wake as waken
    from engine.supervisor import Database

    settings = settings_in_force()
    operator = operator_here()

    async def act(pool: Pool) -> tuple[Snoozed, Here]:
        there = await here(pool, thread_id)
        if wake:
            return await waken(pool, operator, thread_id), there
        return await put_off(pool, operator, thread_id, there.until(" ".join(when or ()))), there

    with Database.open(settings) as database:
        done, there = with_pool(database.dsn, act)
    if json:
        print_json(done)
    else:
        say(snoozed_line(done, there))
