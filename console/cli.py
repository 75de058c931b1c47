"""The `switchboard` command. Each command is a few lines: the work is the engine's.

Nothing slow is imported here: `switchboard --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from console.acts_cli import acts
from console.agents_cli import agents
from console.command import Json, finish, print_json, settings_in_force, usage
from console.desk_cli import desk
from console.drafts_cli import drafts
from console.main import FAILED, FINE, NO_DATABASE, USAGE, need_terminal, open_console
from console.pause_cli import pauses
from console.plain import say
from console.replay_cli import replays
from console.routing_cli import routing
from console.setup_cli import setups
from console.upkeep_cli import upkeep
from console.usage_cli import usages
from console.what_if_cli import what_ifs

HELP = """Answers inbound chat messages through an LLM; all state is in PostgreSQL.

Without a command, the console opens with an engine inside, on the database in DATABASE_URL or on an
embedded one.

Exit codes: 0 fine · 1 not ready, a check failed, or something was refused · 2 wrong usage or settings ·
3 the database cannot be reached · 128 + n ended by signal n.
"""

app = typer.Typer(
    help=HELP,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(replays)
app.add_typer(acts)
app.add_typer(upkeep)
app.add_typer(setups)
app.add_typer(what_ifs)
app.add_typer(desk)
app.add_typer(pauses)
app.add_typer(usages)
app.add_typer(agents, name="agents")
app.add_typer(routing, name="routing")
app.add_typer(drafts, name="drafts")


def _version(wanted: bool) -> None:
    if wanted:
        from engine import __version__

        typer.echo(f"switchboard {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def console(
    context: typer.Context,
    no_engine: Annotated[
        bool, typer.Option("--no-engine", help="Attach to engines running elsewhere; bring none.")
    ] = False,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Look, and change nothing; brings no engine.")
    ] = False,
    low_bandwidth: Annotated[
        bool, typer.Option("--low-bandwidth", help="Refresh less often; for slow lines.")
    ] = False,
    survive_hangup: Annotated[
        bool,
        typer.Option(
            "--survive-hangup", help="When the terminal is lost, the engine inside goes on without it."
        ),
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Open the console."""
    if context.invoked_subcommand is not None:
        if no_engine or read_only or low_bandwidth or survive_hangup:
            usage(
                "--no-engine, --read-only, --low-bandwidth and --survive-hangup are for the console,"
                " not for a command."
            )
        return
    raise typer.Exit(
        open_console(
            no_engine=no_engine,
            read_only=read_only,
            low_bandwidth=low_bandwidth,
            survive_hangup=survive_hangup,
        )
    )


@app.command()
def demo(
    headless: Annotated[
        bool, typer.Option("--headless", help="No console: print each message's trip and a verdict.")
    ] = False,
    messages: Annotated[int, typer.Option(min=1, max=100_000, help="Messages of a headless run.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line; headless only.")] = False,
) -> None:
    """Simulated customers, a stand-in language model and a throw-away database; nothing leaves this machine.

    Headless, exits 0 only if every message is where it belongs.

    Example: switchboard demo --headless --messages 20
    """
    if json and not headless:
        usage("--json goes with --headless.")
    if not headless:
        need_terminal("switchboard demo --headless")
    from engine.observe.logs import configure_logging
    from engine.settings import Settings
    from engine.supervisor.demo import Demo, run_headless

    configure_logging(Settings.model_construct(), quiet=True)  # defaults: nobody's own settings are read
    if headless:
        raise typer.Exit(run_headless(messages, json=json, out=sys.stdout))
    say("Starting the demonstration …")
    from console.app import run_console

    with Demo() as running:
        raise typer.Exit(run_console(running.settings, with_engine=False, read_only=False, demo=running))


@app.command()
def engine(
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes; the first one serves HTTP.")] = 1,
) -> None:
    """Run the engine without a console, for systemd or a container; JSON logs on stderr.

    Example: switchboard engine --workers 2
    """
    from engine.supervisor import run_engine

    raise typer.Exit(run_engine(settings_in_force(logs_to_stderr=True), workers))


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="A loopback address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8800,
    read_only: Annotated[bool, typer.Option("--read-only", help="Look, and change nothing.")] = False,
    low_bandwidth: Annotated[bool, typer.Option("--low-bandwidth", help="Refresh less often.")] = False,
) -> None:
    """Serve the console to a browser on this machine; it attaches to the engine that runs, and brings none.

    Prints the address to open, with a secret of this run in it. Each page has a console of its own.

    Example: switchboard serve --port 8800
    """
    from console.serving import serve as serve_console

    settings_in_force()
    chosen = {"--read-only": read_only, "--low-bandwidth": low_bandwidth}
    raise typer.Exit(serve_console(host, port, [name for name, on in chosen.items() if on], say))


@app.command()
def migrate(
    plan: Annotated[bool, typer.Option("--plan", help="Print the SQL of each step; change nothing.")] = False,
    json: Json = False,
) -> None:
    """Bring the database's schema up to date, in six steps; only ever adds. Exits 0 when it is compatible.

    Example: switchboard migrate --plan
    """
    from console.plain import migration_line, migration_lines
    from engine import supervisor

    with supervisor.Database.open(settings_in_force()) as database:
        if plan:
            run = supervisor.plan(database.dsn)
        else:
            run = supervisor.migrate(
                database.dsn,
                actor="command line",
                on_step=lambda step: None if json or step.status == "running" else say(migration_line(step)),
            )
    if json:
        print_json(run)
    else:
        say(migration_lines(run, plan=plan))
    raise typer.Exit(FINE if run.ok or plan else FAILED)


@app.command()
def doctor(json: Json = False) -> None:
    """Go through the configuration checklist; every complaint comes with its remedy.

    Changes no data. Each LLM provider with a key is asked one short question, which costs next to nothing.

    Example: switchboard doctor
    """
    from console.plain import check_lines
    from engine.observe.doctor import examine

    found = finish(examine(settings_in_force))
    if json:
        print_json(found)
    else:
        say(line for check in found.checks for line in check_lines(check))
    if found.ok:
        raise typer.Exit(FINE)
    if not found.settings_readable:
        raise typer.Exit(USAGE)
    raise typer.Exit(FAILED if found.database_reachable else NO_DATABASE)


@app.command()
def status(json: Json = False) -> None:
    """Tell whether messages are answered, and if not, why and what to do. Exits 0 only when ready.

    Example: switchboard status --json | jq .blockers
    """
    from console.plain import health_lines
    from engine.observe.health import health_at
    from engine.supervisor import Database

    with Database.open(settings_in_force()) as database:
        health = finish(health_at(database.dsn))
    if json:
        print_json(health)
    else:
        say(health_lines(health))
    raise typer.Exit(FINE if health.ready else FAILED)


@app.command()
def regression(
    stand_in: Annotated[
        bool, typer.Option("--stand-in", help="A stand-in answers instead of a language model.")
    ] = False,
    json: Json = False,
) -> None:
    """Send one message through the configured database and check every step to its dispatch.

    Goes through the engine running here, or brings one, which then answers whatever else waits. It is one
    simulated customer's message; with an API key set, one real LLM call is paid for.

    Example: switchboard regression --stand-in
    """
    from console.plain import step_line
    from engine.supervisor import Database
    from engine.supervisor.regression import run_regression

    settings = settings_in_force()
    with Database.open(settings) as database:
        run = run_regression(
            settings,
            database,
            stand_in=stand_in,
            on_step=lambda step: None if json else say(step_line(step)),
        )
    if json:
        print_json(run)
    else:
        say(f"{'Passed' if run.ok else 'FAILED'}, through {run.engine}; language model: {run.far_end}.")
    raise typer.Exit(FINE if run.ok else FAILED)


@app.command()
def inject(
    text: Annotated[str, typer.Argument(help="What the customer writes.")],
    sender: Annotated[
        str, typer.Option("--from", help="The customer's address on the channel.")
    ] = "command-line",
    channel: Annotated[
        str, typer.Option(help="On any other than the simulator, the reply is really sent.")
    ] = "simulator",
    tenant: Annotated[int, typer.Option(min=1, help="Whose customer it is.")] = 1,
    follow: Annotated[
        bool, typer.Option("--follow", help="Watch it until its reply has left; needs a running engine.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to follow it.")] = 90.0,
    json: Json = False,
) -> None:
    """Put in an inbound message as a provider would. With --follow, exits 0 only when its reply has left.

    Example: switchboard inject "Are you open on Sunday?" --from +4930123456 --follow
    """
    from console.plain import stage_line, trip_lines
    from engine.observe import trip as trips
    from engine.supervisor import Database

    with Database.open(settings_in_force()) as database:
        trip = finish(
            trips.inject(
                database.dsn, text, sender=sender, channel=channel, tenant_id=tenant, need_engine=follow
            )
        )
        if not json:
            say(f"message {trip.message_id} is stored")
        if follow:
            trip = finish(
                trips.follow(
                    database.dsn,
                    trip.message_id,
                    seconds=timeout,
                    on_stage=lambda stage: None if json else say(stage_line(stage)),
                )
            )
    if json:
        print_json(trip)
    elif follow:
        say(trip_lines(trip))
    raise typer.Exit(FINE if trip.delivered or not follow else FAILED)
