"""`switchboard pause` and `resume`: the kill switch from the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from console.command import Json, print_json, settings_in_force, usage, with_pool
from console.plain import say

pauses = typer.Typer(rich_markup_mode=None)

HIGHEST_ID = 2**63 - 1
Channel = Annotated[str | None, typer.Option(help="On this channel only.")]
Thread = Annotated[int | None, typer.Option(min=1, max=HIGHEST_ID, help="In this conversation only.")]


@pauses.command()
def pause(channel: Channel = None, thread: Thread = None, json: Json = False) -> None:
    """Stop the AI from answering, everywhere or on a channel or in a conversation. Messages wait; nothing is lost.

    Example: switchboard pause --channel telegram
    """
    _switch(channel, thread, on=True, json=json)


@pauses.command()
def resume(channel: Channel = None, thread: Thread = None, json: Json = False) -> None:
    """Let the AI answer again where it was paused; what has waited is answered, oldest first.

    Example: switchboard resume --channel telegram
    """
    _switch(channel, thread, on=False, json=json)


def _switch(channel: str | None, thread: int | None, *, on: bool, json: bool) -> None:
    if channel is not None and thread is not None:
        usage("Give either --channel or --thread.")
    from console.plain_acts import switched_line
    from engine.operator.audit import Operator
    from engine.operator.pause import pause, resume
    from engine.supervisor import Database

    operator, act = Operator.current(), pause if on else resume
    with Database.open(settings_in_force()) as database:
        done = with_pool(database.dsn, lambda pool: act(pool, operator, channel=channel, thread_id=thread))
    if json:
        print_json(done)
    else:
        say(switched_line(done))
