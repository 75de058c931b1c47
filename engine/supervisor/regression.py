"""The regression checklist, run for real: one message, from its INSERT to the dispatch of its reply.

    1 ready · 2 system health · 3 one inbound message · 4 its status · 5 the outbound row · 6 the dispatch

It goes through a running engine of this machine, or through one of its own. The message is a simulated
customer's; nothing that is there already is changed. Where a stand-in answers instead of a language model,
only a database without real conversations will do: a stand-in must not answer people.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from secrets import token_hex
from typing import Any

import psycopg
from pydantic import BaseModel, SecretStr, ValidationError

from engine.admin_token import admin_token
from engine.channels.registry import ChannelRegistry, build_channels
from engine.channels.simulator import SimulatorChannel
from engine.database.directory import QuietWindow
from engine.database.handle import Database
from engine.demo.far_end import FarEnd
from engine.model import SwitchboardError
from engine.observe.checklist import RegressionStep, Target, run_checklist
from engine.observe.reading import ALIVE_SECONDS
from engine.settings import Settings
from engine.supervisor import Engine
from engine.text import one_line

START_SECONDS = 30.0
SLACK_SECONDS = 30.0
"""For everything about a message but the quiet window and the turn."""


class Regression(BaseModel):
    """The whole checklist."""

    ok: bool
    engine: str
    """Whose engine the message went through."""
    far_end: str
    """Who answered in the place of the language model, in words."""
    steps: list[RegressionStep]


class Unfit(SwitchboardError):
    """The checklist cannot be run like this."""


def run_regression(
    settings: Settings,
    database: Database,
    *,
    stand_in: bool = False,
    on_step: Callable[[RegressionStep], None] = lambda _: None,
) -> Regression:
    """Run the checklist; a failed step leaves out those after it.

    Raises Unfit when a stand-in was asked for, or is all there is, on a database with real conversations,
    and SwitchboardError when no engine can be started.
    """
    with ExitStack() as stack:
        running = None if stand_in else _running(database)
        if running is not None:
            engine, address = f"the running engine {running[0]}", running[1]
            far_end = "as that engine is configured"
        else:
            own, far_end = stack.enter_context(_own_engine(settings, database, stand_in))
            engine, address = "an engine of its own", own.snapshot().http_address or ""
        patience = settings.turn_deadline_seconds + _longest_quiet(database) + SLACK_SECONDS
        target = Target(
            database.dsn,
            f"http://{address}",
            host=settings.allowed_hosts[0] if settings.allowed_hosts else address,
            token=admin_token(settings),
            patience=patience,
        )
        steps = asyncio.run(run_checklist(target, on_step))
    return Regression(ok=all(step.ok for step in steps), engine=engine, far_end=far_end, steps=steps)


# The engine


_LIVE = """
SELECT name, http_address, host = %s AS here FROM et_engines
 WHERE stopped_at IS NULL AND heartbeat_at > clock_timestamp() - make_interval(secs => %s)
 ORDER BY heartbeat_at DESC
"""


def _longest_quiet(database: Database) -> float:
    """Seconds that a burst is waited for at most."""
    stored = _query(database, "SELECT value FROM et_platform_settings WHERE key = 'quiet_window'")
    try:
        return QuietWindow.model_validate(stored[0][0]).max_seconds if stored else QuietWindow().max_seconds
    except ValidationError:  # the mailbox goes by the defaults, too
        return QuietWindow().max_seconds


def _query(database: Database, sql: str, *params: object) -> list[tuple[Any, ...]]:
    """The rows, none where the tables do not exist yet."""
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        try:
            return connection.execute(sql.encode(), params).fetchall()
        except psycopg.errors.UndefinedTable:
            return []


def _running(database: Database) -> tuple[str, str] | None:
    """Name and HTTP address of a live engine of this machine."""
    rows = _query(database, _LIVE, socket.gethostname(), ALIVE_SECONDS)
    return next(((name, address) for name, address, here in rows if here and address), None)


@contextmanager
def _own_engine(settings: Settings, database: Database, stand_in: bool) -> Iterator[tuple[Engine, str]]:
    settings = settings.model_copy(update={"http_enabled": True, "http_port": 0, "http_host": "127.0.0.1"})
    has_key = settings.uniapi_api_key is not None or settings.zai_api_key is not None
    with ExitStack() as stack:
        if stand_in or not has_key:
            _refuse_real_conversations(settings, database)
            far = stack.enter_context(FarEnd())
            settings = settings.model_copy(
                update={
                    "uniapi_base_url": far.uniapi_url,
                    "uniapi_api_key": SecretStr(token_hex(16)),
                    "zai_base_url": far.zai_url,
                    "zai_api_key": SecretStr(token_hex(16)),
                }
            )
            why = "as asked" if stand_in else "no API key is set"
            told = f"a stand-in on this machine, no language model ({why})"
            channels = ChannelRegistry([SimulatorChannel()])
            engine = Engine(settings, database, simulated=True, channels=channels)
        else:
            told = "the configured providers"
            engine = Engine(settings, database)
        engine.start()
        stack.callback(engine.stop)
        if not engine.wait_ready(START_SECONDS):
            raise SwitchboardError(f"The engine did not start within {START_SECONDS:.0f} s.", "See its log.")
        yield engine, told


def _refuse_real_conversations(settings: Settings, database: Database) -> None:
    channels = {channel.name for channel in build_channels(settings)}
    channels |= {row[0] for row in _query(database, "SELECT DISTINCT channel FROM et_threads")}
    real = channels - {SimulatorChannel.name}
    if real:
        raise Unfit(
            f"A stand-in must not answer real conversations ({one_line(', '.join(sorted(real)))}).",
            "Set UNIAPI_API_KEY and leave --stand-in out, or use another database (DATABASE_URL).",
        )
    if _query(database, _LIVE, socket.gethostname(), ALIVE_SECONDS):
        raise Unfit(
            "An engine is running on this database and would answer in the stand-in's place.",
            "Leave --stand-in out to go through it, or stop it first.",
        )
