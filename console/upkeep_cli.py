"""What keeps an installation in order: backup, restore, erasure, alerts, retention."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.command import (
    Json,
    agreed,
    finish,
    operator_here,
    print_json,
    settings_in_force,
    usage,
    with_pool,
)
from console.main import FAILED, FINE
from console.plain import say

upkeep = typer.Typer(rich_markup_mode=None)

Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="NAME=VALUE, live for every engine; an empty value takes it back."),
]


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
    from engine.supervisor import Database

    with Database.open(settings_in_force()) as database:
        done = backups.backup(database, operator_here(), file, verify=not no_verify)
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
    from engine.supervisor import Database

    with Database.open(settings_in_force()) as database:
        done = backups.restore(database, operator_here(), file, force=force)
    if json:
        print_json(done)
    else:
        say(restore_lines(done))


@upkeep.command()
def erase(
    address: Annotated[
        str | None, typer.Argument(help="A phone number in any spelling, or an address of a channel.")
    ] = None,
    lead: Annotated[int | None, typer.Option(min=1, max=2**63 - 1, help="The lead's number instead.")] = None,
    tenant: Annotated[int | None, typer.Option(min=1, help="Of this tenant only.")] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Only tell what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Erase a customer's data for good: texts, media, names, addresses, prompts, drafts and notes, everywhere.

    Counts, times, statuses, tokens and cost stay. Says what it is and asks first. Backups made before and
    logs on disk are not reached.

    Example: switchboard erase "+49 30 123456" --preview
    """
    if (address is None) == (lead is None):
        usage("Name the customer by an address or by --lead.")
    if lead is not None and tenant is not None:
        usage("--tenant goes with an address.")
    from console.plain_upkeep import erasure_lines
    from engine.operator import erasure
    from engine.supervisor import Database

    with Database.open(settings_in_force()) as database:

        def look() -> erasure.Erasure:
            return with_pool(
                database.dsn,
                lambda pool: erasure.preview(pool, lead_id=lead, address=address, tenant_id=tenant),
            )

        if preview:
            told = look()
        else:
            if not yes:
                say(erasure_lines(look()), error=True)
                if not agreed("All of it will be erased for good. Go on?"):
                    say("Nothing was changed.", error=True)
                    raise typer.Exit(FAILED)
            operator = operator_here()
            told = with_pool(
                database.dsn,
                lambda pool: erasure.erase(pool, operator, lead_id=lead, address=address, tenant_id=tenant),
            )
    if json:
        print_json(told)
    else:
        say(erasure_lines(told, done=not preview))


alerts = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
upkeep.add_typer(alerts, name="alerts")


@alerts.callback()
def alerts_now(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Incidents at most, the newest first.")] = 20,
    json: Json = False,
) -> None:
    """List the rules of alerts, where they are told, and the newest incidents. Changes nothing.

    Example: switchboard alerts --limit 5
    """
    if context.invoked_subcommand is not None:
        return
    from console.plain_upkeep import Alerts, alert_lines
    from engine.observe import incidents
    from engine.supervisor import Database

    settings = settings_in_force()
    with Database.open(settings) as database:
        found = with_pool(database.dsn, lambda pool: incidents.incidents(pool, limit=limit))
        live = with_pool(database.dsn, lambda pool: incidents.in_force(pool, settings))
    told = Alerts(rules=incidents.rules(live), targets=incidents.targets(live), incidents=found)
    if json:
        print_json(told)
    else:
        say(alert_lines(told, incidents.rules(settings)))


@alerts.command("test")
def alerts_test() -> None:
    """Tell each target a test alert now. Exits 0 only if every one took it.

    Example: switchboard alerts test
    """
    from engine.supervisor.alert_targets import tell_all

    told = finish(tell_all(settings_in_force()))
    if not told:
        say("There is no target: set SWITCHBOARD_ALERT_WEBHOOK_URL or SWITCHBOARD_ALERT_COMMAND.", error=True)
        raise typer.Exit(FAILED)
    for name, problem in told.items():
        say(f"{name}: {problem or 'took it'}", error=problem is not None)
    problems = sum(1 for problem in told.values() if problem)
    raise typer.Exit(FAILED if problems else FINE)


@alerts.command("set")
def alerts_set(
    changes: Annotated[
        list[str], typer.Argument(help="NAME=VALUE; 0 switches a rule off, nothing takes it back.")
    ],
    json: Json = False,
) -> None:
    """Change thresholds of alerts, live for every engine: blockers, queue_seconds, error_share, spend_share,
    balance_days, takeover_minutes.

    Example: switchboard alerts set queue_seconds=120 takeover_minutes=
    """
    from console.plain_upkeep import AlertsSet
    from engine.operator.configuration import change_setting
    from engine.supervisor import Database

    wanted = _assignments(changes)
    with Database.open(settings_in_force()) as database:
        stored = with_pool(database.dsn, lambda pool: change_setting(pool, operator_here(), "alerts", wanted))
    if json:
        print_json(AlertsSet(alerts=stored))
    else:
        say([f"{name} = {value}" for name, value in stored.items()] or ["As engines are told from outside"])


def _assignments(changes: list[str]) -> dict[str, float | bool | None]:
    """NAME=VALUE as people type it."""
    words: dict[str, bool | None] = {"": None, "on": True, "off": False}
    told: dict[str, float | bool | None] = {}
    for change in changes:
        name, equals, text = (part.strip() for part in change.partition("="))
        if not equals:
            usage(f"{change!r} is not of the form NAME=VALUE.")
        try:
            told[name] = words[text] if text in words else float(text)
        except ValueError:
            usage(f"{text!r} is not a number.")
    return told


@upkeep.command()
def retention(
    run: Annotated[bool, typer.Option("--run", help="Let go now of what is past its time.")] = False,
    changes: Changes = None,
    json: Json = False,
) -> None:
    """Tell how long each kind is kept, and what is past its time; with --run, do what engines do every hour.

    Messages and turns always stay.

    Example: switchboard retention --set prompts=14 --set traces=365 --run
    """
    from console.plain_upkeep import Retention, retention_lines
    from engine.operator.configuration import change_setting
    from engine.operator.retention import kinds, preview, retain
    from engine.supervisor import Database

    settings, wanted = settings_in_force(), _assignments(changes or [])
    with Database.open(settings) as database:
        if wanted:
            with_pool(database.dsn, lambda pool: change_setting(pool, operator_here(), "retention", wanted))
        gone = {}
        if run:
            kept = with_pool(database.dsn, lambda pool: retain(pool, operator_here(), settings))
            gone = {one.kind: one.gone for one in kept}
        due = with_pool(database.dsn, lambda pool: preview(pool, settings))
    told = [one.model_copy(update={"gone": gone.get(one.kind, 0)}) for one in due]
    if json:
        print_json(Retention(kinds=told))
    else:
        say(retention_lines(told, kinds(settings), run=run))
