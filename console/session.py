"""What stands behind the screens: settings, database, the embedded engine, the feed.

All of it is slow to import or to reach, so it is opened in a thread after the first paint, step by step;
`phase` says in words what is awaited. The engine runs in its own thread and event loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.observe.feed import Database, Feed
    from engine.observe.logs import LogRing
    from engine.operator.audit import Operator
    from engine.operator.backup import BackedUp
    from engine.settings import Settings
    from engine.supervisor import Engine

DRAIN_SECONDS = 3.0
"""Turns that do not end by then are handed back unanswered, and taken up by the next engine."""
START_SECONDS = 30.0


class Preferences:
    """`[console]` of switchboard.toml."""

    def __init__(self, table: dict[str, Any] | None = None) -> None:
        table = table or {}
        theme, keys = table.get("theme"), table.get("keys")
        self.theme: str | None = theme if isinstance(theme, str) else None
        self.keys: dict[str, str] = (
            {str(k): v for k, v in keys.items() if isinstance(v, str)} if isinstance(keys, dict) else {}
        )
        self.unknown: list[str] = sorted(set(table) - {"theme", "keys"})
        """Keys that nothing reads."""

    @classmethod
    def read(cls, path: Path | None) -> Preferences:
        """Those of a file; none when it cannot be read, which loading the settings has said already."""
        import tomllib

        try:
            table = tomllib.loads(path.read_text(encoding="utf-8")) if path else {}
        except (OSError, ValueError):
            return cls()
        console = table.get("console")
        return cls(console if isinstance(console, dict) else None)


@dataclass
class Session:
    """One console's way to one database."""

    load: Callable[[], Settings]
    """Reads the settings; called in a thread."""
    with_engine: bool
    read_only: bool = False
    phase: str = "starting"
    place: str = ""
    """Where the database is, without its password."""
    failure: str | None = None
    """Why the session could not be opened, with the remedy."""
    feed: Feed | None = None
    operator: Operator | None = None
    settings: Settings | None = None
    engine: Engine | None = None
    journal: LogRing | None = None
    """What this process logs, an embedded engine included; nothing of it is written to the terminal."""
    preferences: Preferences = field(default_factory=Preferences)
    _database: Database | None = None
    _feed: Feed | None = None
    _opening: threading.Thread | None = None
    _closing: threading.Lock = field(default_factory=threading.Lock)

    async def open(self, on_phase: Callable[[], None]) -> None:
        """Open everything; `on_phase` is called whenever `phase`, `failure` or what is open has changed.

        When a step fails, `failure` says why; called again, it goes on with that step.
        """
        for phase, step, done in (
            ("reading settings", self._read_settings, self.settings is not None),
            ("reaching the database", self._open_database, self._database is not None),
            ("starting the engine", self._start_engine, not self.with_engine),
        ):
            if done:
                continue
            self.phase = phase
            on_phase()
            self.failure = await self._in_thread(phase, step)
            if self.failure:
                on_phase()
                return
        assert self._feed is not None
        await self._feed.open()
        self.feed, self.phase = self._feed, "reading the state"
        on_phase()

    async def _in_thread(self, phase: str, step: Callable[[], None]) -> str | None:
        """Run a step in a thread that nobody has to wait for at exit; returns what went wrong."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[str | None] = loop.create_future()

        def tell(failure: str | None) -> None:
            if not done.done():
                done.set_result(failure)

        def run() -> None:
            failure = _failure_of(phase, step)
            failure = self.masked(failure) if failure else None
            with suppress(RuntimeError):  # the console has ended meanwhile
                loop.call_soon_threadsafe(tell, failure)

        self._opening = threading.Thread(target=run, name=f"console {phase}", daemon=True)
        self._opening.start()
        return await done

    def _read_settings(self) -> None:
        from engine.operator.audit import Operator
        from engine.settings import config_file

        self.settings = self.load()
        self._configure_logging()
        self.preferences = Preferences.read(config_file())
        self.operator = Operator.current(name=self.settings.operator, read_only=self.read_only)

    def _configure_logging(self) -> None:
        """Also after a change: new secrets are to be kept out of the log, too."""
        from engine.observe.logs import configure_logging

        assert self.settings is not None
        log_file = self.settings.data_dir / "console.log"
        self.journal = configure_logging(self.settings, file=log_file, quiet=True, ring=self.journal)

    def _open_database(self) -> None:
        from engine.observe.feed import Database, Feed

        assert self.settings is not None
        self._database = Database.open(self.settings)
        self.place = self._database.where
        self._feed = Feed(self._database.dsn)

    def _start_engine(self) -> None:
        from engine.supervisor import Engine

        assert self.settings is not None
        assert self._database is not None
        self.engine = Engine(self.settings, self._database, drain_seconds=DRAIN_SECONDS)
        self.engine.start()
        if not self.engine.wait_ready(START_SECONDS):
            raise TimeoutError(f"the engine has not started within {START_SECONDS:.0f} s")

    def masked(self, text: str) -> str:
        """`text` with the settings' secrets masked: an unforeseen error's message may hold one."""
        from engine.observe.logs import SecretMask

        return SecretMask(self.settings.secrets())(text) if self.settings is not None else text

    async def restart_engine(self) -> str | None:
        """Have the engine in this console, if there is one, take up changed settings; returns what went wrong."""
        return await self._in_thread("restarting the engine", self._restart_engine)

    async def back_up(self, file: Path) -> tuple[BackedUp | None, str | None]:
        """Back up the embedded database into a new file, in a folder only we can read; or what went wrong."""
        done: list[BackedUp] = []

        def work() -> None:
            from engine.operator.backup import backup

            assert self._database is not None
            assert self.operator is not None
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            done.append(backup(self._database, self.operator, file))

        failure = await self._in_thread("the backup", work)
        return (done[0] if done else None), failure

    @property
    def embedded(self) -> bool:
        """Whether the database is the embedded one."""
        return self._database is not None and self._database.embedded

    def _restart_engine(self) -> None:
        self.settings = self.load()
        self._configure_logging()
        with self._closing:
            if self.engine is None or self._database is None:
                return
            self.engine.stop(DRAIN_SECONDS + 1)
            self.engine = None
        self._start_engine()

    async def close_feed(self) -> None:
        """Let go of the console's own connections."""
        if self.feed is not None:
            feed, self.feed = self.feed, None
            await feed.close()

    def stop(self, timeout: float = DRAIN_SECONDS + 1) -> None:
        """Drain the engine and let go of the database. May be called from any thread, and twice."""
        with self._closing:
            if self._opening is not None:
                self._opening.join(timeout)
            if self.engine is not None:
                self.engine.stop(timeout)
                self.engine = None
            if self._database is not None:
                self._database.close()
                self._database = None


def _failure_of(phase: str, step: Callable[[], None]) -> str | None:
    """Run a step; what went wrong in words, with its remedy, or None."""
    try:
        step()
    except Exception as error:
        what, remedy = getattr(error, "what", None), getattr(error, "remedy", None)
        if what and remedy:
            return f"{what} {remedy}"
        return f"{phase.capitalize()} failed: {type(error).__name__}: {error}"
    return None
