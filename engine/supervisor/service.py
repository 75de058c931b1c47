"""Engines without a console, for systemd or a container: processes, signals, restarts."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.context import SpawnProcess

from pydantic import SecretStr

from engine.database.handle import Database
from engine.logs import configure_logging, get_logger
from engine.settings import Settings

log = get_logger(__name__)


def run_engine(settings: Settings, workers: int = 1) -> int:
    """Run `workers` engines until SIGINT or SIGTERM, then drain; returns the exit code.

    More than one are processes; only the first serves HTTP. A process that dies is started again.
    """
    if workers == 1:
        return _run_one(settings)
    with Database.open(settings) as database:
        return _run_many(settings.model_copy(update={"database_url": SecretStr(database.dsn)}), workers)


def _run_one(settings: Settings) -> int:
    with _open_while_loading(settings) as database:
        from engine.supervisor.engine import Engine, new_event_loop

        async def main() -> None:
            engine = Engine(settings, database)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, engine.request_stop)
            await engine.run()

        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(main())
    return 0


def _open_while_loading(settings: Settings) -> Database:
    """The database; while its server starts, the engine is loaded, which takes longer."""
    gc.disable()  # what is loaded stays: a look through it finds nothing to free. See settle_collector
    with ThreadPoolExecutor(1) as aside:
        opening = aside.submit(Database.open, settings)
        import engine.supervisor.engine

        if settings.http_enabled:
            import engine.http.api
            import engine.http.webhooks  # noqa: F401
        return opening.result()


def _run_many(settings: Settings, workers: int) -> int:
    from engine.supervisor.engine import DRAIN_SECONDS, RESTART_SECONDS

    context = multiprocessing.get_context("spawn")
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())

    def spawn(index: int) -> SpawnProcess:
        own = settings if index == 0 else settings.model_copy(update={"http_enabled": False})
        process = context.Process(target=_child, args=(own,), name=f"switchboard engine {index}")
        process.start()
        return process

    children = [spawn(index) for index in range(workers)]
    while not stopping.wait(0.5):
        for index, child in enumerate(children):
            if not child.is_alive():
                log.error("engine.died", worker=index, exit_code=child.exitcode)
                stopping.wait(RESTART_SECONDS)
                children[index] = spawn(index)
    for child in children:
        child.terminate()
    for child in children:
        child.join(DRAIN_SECONDS + 10)
    return max((child.exitcode or 0) for child in children)


def _child(settings: Settings) -> None:
    configure_logging(settings)
    raise SystemExit(_run_one(settings))
