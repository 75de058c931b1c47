"""The demonstration: a throw-away database, far ends on loopback, an engine, and customers who write.

    with Demo() as demo:            # everything runs now, after about three seconds
        demo.toggle("uniapi-outage")
        demo.engine.snapshot()

The engine reaches the stand-ins through the code that reaches the real ones. No setting of the person who
runs it is read: nothing of a demonstration leaves the machine.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TextIO

import psycopg
from pydantic import SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from engine.demo import bistro
from engine.demo.channel_far_end import ChannelFarEnd
from engine.demo.customers import Customers
from engine.demo.far_end import Author, FarEnd, Script
from engine.demo.faults import Fault, Faults
from engine.demo.headless import Run, announce
from engine.demo.history import write_history
from engine.demo.personas import Conversation, Manners, Town
from engine.model import SwitchboardError
from engine.settings import Settings
from engine.supervisor import Database, Engine, migrate

__all__ = ["PLEASANT", "QUICK", "Demo", "Fault", "Tempo", "run_headless"]

START_SECONDS = 60.0
DRAIN_SECONDS = 3.0
#: A database that nobody needs after a crash need not survive one.
CARELESS = ("fsync", "synchronous_commit", "full_page_writes")


@dataclass(frozen=True, slots=True)
class Tempo:
    """How fast everything goes; in seconds, where two are given least and most."""

    pace: float = 1.0
    """Messages a second that customers write."""
    quiet: tuple[float, float] = (2.0, 10.0)
    """The quiet window of bursts, and its cap."""
    model: tuple[float, float] = (0.5, 1.8)
    """What a model takes for an answer."""
    delivered_after: float = 0.4
    """From a message's arrival at the far end to its receipt."""
    manners: Manners = field(default_factory=Manners)


PLEASANT = Tempo()
"""For watching."""
QUICK = Tempo(
    pace=4.0,
    quiet=(0.4, 2.0),
    model=(0.02, 0.12),
    delivered_after=0.05,
    manners=Manners(
        typing=(0.03, 0.1), thinking=(0.05, 0.3), reading=(0.02, 0.2), patience=10.0, hope=1.5, readers=1.0
    ),
)
"""For a run that is to end."""


class _Isolated(Settings):
    """Settings that come from their arguments alone."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


class Demo:
    """A demonstration, running between `start` and `stop`, or within its `with` block."""

    settings: Settings
    database: Database
    engine: Engine
    """Started with the demonstration, and stopped with it."""
    customers: Customers

    def __init__(
        self,
        *,
        seed: int = 7,
        tempo: Tempo = PLEASANT,
        plan: Sequence[Conversation] | None = None,
        history: bool = True,
        http: bool = True,
        keep: bool = False,
    ) -> None:
        """With a `plan`, customers follow it and fall silent. `history` invents a past of some days.

        `keep` leaves the data folder behind. `http` serves health on a free port of loopback.
        """
        self.llm = FarEnd()
        """The stand-in for both LLM providers."""
        self.channel = ChannelFarEnd(delivered_after=tempo.delivered_after, rng=random.Random(seed))
        self.folder = Path()
        """The data folder."""
        self._seed, self._tempo, self._plan = seed, tempo, plan
        self._history, self._http, self._keep = history, http, keep
        self._faults: Faults
        self._undo = ExitStack()
        self._lock = threading.Lock()

    @property
    def faults(self) -> list[Fault]:
        """What can be made to go wrong, and what is wrong now."""
        return self._faults.current()

    def toggle(self, key: str) -> Fault:
        """Switch a fault on or off; see Faults.toggle."""
        return self._faults.toggle(key)

    def start(self) -> None:
        """Start everything; some seconds. Raises SwitchboardError, and leaves nothing behind then."""
        with self._lock, ExitStack() as undo:
            self._open(undo)
            self._undo = undo.pop_all()

    def stop(self) -> None:
        """Stop everything and remove the data folder. May be called twice, and from any thread."""
        with self._lock:
            self._undo.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _open(self, undo: ExitStack) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="switchboard-demo-"))
        if not self._keep:
            undo.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._start_far_ends(undo)
        settings = self._settings()
        self.database = undo.enter_context(Database.open(settings))
        # Whoever opens the settings again attaches to the server, and does not stop it by leaving.
        self.settings = settings.model_copy(update={"database_url": SecretStr(self.database.dsn)})
        self._furnish()
        self.engine = Engine(self.settings, self.database, simulated=True, drain_seconds=DRAIN_SECONDS)
        self.customers = Customers(
            self.database.dsn,
            self._seed,
            self._tempo.pace,
            far_end=self.channel,
            plan=self._plan,
            manners=self._tempo.manners,
        )
        self._faults = Faults(
            self.llm,
            self.channel,
            hold_receipts=self.customers.hold_receipts,
            burst=self.customers.burst,
            hostile=self.customers.hostile,
            dsn=self.database.dsn,
            snapshot=self.engine.snapshot,
        )
        self.channel.receipts_to = self.customers.hear
        undo.callback(self.engine.stop)
        self.engine.start()
        if not self.engine.wait_ready(START_SECONDS):
            raise SwitchboardError(f"The engine did not start within {START_SECONDS:.0f} s.", "See the log.")
        undo.callback(self.customers.stop)
        self.customers.start()

    def _start_far_ends(self, undo: ExitStack) -> None:
        rng = random.Random(self._seed)
        for script in (self.llm.uniapi, self.llm.zai):
            script.reply = _paced(script, rng, self._tempo.model)
        undo.enter_context(self.llm)
        undo.enter_context(self.channel)

    def _settings(self) -> Settings:
        given: dict[str, Any] = {
            "data_dir": self.folder,
            "uniapi_base_url": self.llm.uniapi_url,
            "uniapi_api_key": "simulated-key-of-uniapi",
            "zai_base_url": self.llm.zai_url,
            "zai_api_key": "simulated-key-of-zai",
            "simulator_base_url": self.channel.base_url,
            "http_enabled": self._http,
            "http_port": 0,
            "poll_seconds": 1.0,
            "lease_seconds": 15.0,
            "send_timeout_seconds": 10.0,
            "retry_base_seconds": 0.5,
            "retry_cap_seconds": 10.0,
            "send_max_attempts": 12,
            "turn_ceiling_usd": 0.005,
        }
        return _Isolated(**given)

    def _furnish(self) -> None:
        """The database as it stands when the demonstration begins."""
        dsn = self.database.dsn
        quiet, longest = self._tempo.quiet
        with psycopg.connect(dsn, autocommit=True) as connection:
            for name in CARELESS:
                connection.execute(f"ALTER SYSTEM SET {name} = off".encode())
            connection.execute("SELECT pg_reload_conf()")
            run = migrate(dsn)
            if not run.ok:
                raise SwitchboardError(run.blockers[0].what, run.blockers[0].remedy)
            bistro.furnish(connection, quiet_seconds=quiet, quiet_max_seconds=longest)
            if self._history:
                write_history(connection, random.Random(self._seed + 1))  # of other people than today's


def run_headless(messages: int, *, json: bool, out: TextIO, faults: Sequence[str] = (), seed: int = 7) -> int:
    """Have customers write so many messages, tell the trip of each, and sum up; returns the exit code.

    0 only if every message is where it belongs. Besides the outage of UniAPI that every run has, `faults`
    (their keys) are on from the start. With `json`, each line is an object, the last one the summary.
    Where log lines go is the caller's to say. Raises SwitchboardError when it cannot start.
    """
    announce(messages, json=json, out=out)
    plan = Town(random.Random(seed)).plan(messages)
    with Demo(seed=seed, tempo=QUICK, plan=plan, history=False, http=False) as demo:
        for key in faults:
            demo.toggle(key)
        return 0 if Run(demo, messages, json=json, out=out).watch().ok else 1


def _paced(script: Script, rng: random.Random, seconds: tuple[float, float]) -> Author:
    """The bistro's answers, each after another time, as models have it."""

    def reply(messages: list[dict[str, Any]]) -> str:
        script.latency_seconds = rng.uniform(*seconds)  # read after this call, for the same answer
        return bistro.answer(messages)

    return reply
