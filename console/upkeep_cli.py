"""What keeps an installation in order: backup and restore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.command import Json, print_json, settings_in_force
from console.plain import say

upkeep = typer.Typer(rich_markup_mode=None)


@upkeep.command()
def backup(
    file: Annotated[Path, typer.Argument(help="A new file, which only you can read.")],
    no_verify: Annotated[
        bool, typer.Option("--no-verify", help="Do not restore it beside the database to prove it.")
    ] = False,
    json: Json = False,
) -> None:
    """Back up the embedded database into one file while engines go on, and prove that it can be restored.

    It holds customers' messages: keep it as you keep those. Of a database in DATABASE_URL, says how.

    Example: switchboard backup monday.backup
    """
    from console.plain_upkeep import backup_lines
    from engine.operator import backup as backups
    from engine.operator.audit import Operator
    from engine.supervisor import Database

    with Database.open(settings_in_force()) as database:
        done = backups.backup(database, Operator.current(), file, verify=not no_verify)
    if json:
        print_json(done)
    else:
        say(backup_lines(done))


@upkeep.command()
def restore(
    file: Annotated[Path, typer.Argument(help="What switchboard backup wrote.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace a database that is not empty. What it holds is gone.")
    ] = False,
    json: Json = False,
) -> None:
    """Put a backup in the place of the embedded database; refused while anything uses it.

    Is compared with the backup, table by table, before it counts. The AI is paused afterwards, and sends
    that were open wait for your decision: they may have left since.

    Example: switchboard restore monday.backup
    """
    from console.plain_upkeep import restore_lines
    from engine.operator import backup as backups
    from engine.operator.audit import Operator
    from engine.supervisor import Database

    with Database.open(settings_in_force()) as database:
        done = backups.restore(database, Operator.current(), file, force=force)
    if json:
        print_json(done)
    else:
        say(restore_lines(done))
