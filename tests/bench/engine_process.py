"""A real engine in a process of its own, its LLM and channel in process, and what it did, in JSON.

    python -m tests.bench.engine_process '{"dsn": …, "llm_seconds": 0.0, "settings": {…}}'

Prints "ready" once it serves; prints its record and ends when its stdin is closed. With "llm_url" it calls that
far end over HTTP through the real provider instead.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
GAP_SECONDS = 0.01


@dataclass
class EngineRecord:
    """What one engine did. Times are those of the machine's clock, in seconds."""

    sent: dict[int, float] = field(default_factory=dict)
    """By queue id: when the commit that recorded the send came back."""
    gaps: list[tuple[float, float]] = field(default_factory=list)
    """Sampled every 10 ms: when, and by how many seconds the loop was late."""


def clean_environment() -> dict[str, str]:
    """This process's environment without any setting of the person who measures."""
    ours = (
        "SWITCHBOARD_",
        "UNIAPI_",
        "ZAI_",
        "TELEGRAM_",
        "WHATSAPP_",
        "WAHA_",
        "EVOLUTION_",
        "DATABASE_URL",
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"PYTHONPATH": str(ROOT), "SWITCHBOARD_CONFIG": os.devnull}


class EngineProcess:
    """The parent's side of it."""

    def __init__(self, dsn: str, **config: Any) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, json.dumps({"dsn": dsn, **config})],
            env=clean_environment(),
            cwd=tempfile.gettempdir(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def wait_ready(self) -> None:
        """Raises RuntimeError when it does not come up."""
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if said.strip() != "ready":
            self._process.kill()
            self._process.wait()
            raise RuntimeError(f"the engine did not start: {said!r}")

    def finish(self) -> EngineRecord:
        """End it and have its record."""
        out, _ = self._process.communicate(timeout=60)
        told = json.loads(out.splitlines()[-1])
        return EngineRecord(
            {int(k): v for k, v in told["sent"].items()}, [(at, gap) for at, gap in told["gaps"]]
        )

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def record_sent(record: EngineRecord) -> None:
    """Have every commit of `queue.record_sends` noted; to be called before an engine is made."""
    from engine.database.connection import Connection
    from engine.outbound import queue
    from engine.outbound.queue import SendResult

    really = queue.record_sends

    async def noting(connection: Connection, results: Sequence[SendResult]) -> list[bool]:
        recorded = await really(connection, results)
        now = time.time()
        record.sent.update({result.queue_id: now for result in results})
        return recorded

    queue.record_sends = noting


async def sample_gaps(record: EngineRecord) -> None:
    """Note how late the loop is, for ever."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + GAP_SECONDS
        await asyncio.sleep(GAP_SECONDS)
        record.gaps.append((time.time(), max(0.0, loop.time() - due)))


async def serve(config: dict[str, Any], record: EngineRecord) -> None:
    """Run the engine until the process ends."""
    record_sent(record)
    from engine.channels.registry import ChannelRegistry
    from engine.database.handle import Database
    from engine.llm.router import build_router
    from engine.logs import configure_logging
    from engine.settings import load_settings
    from engine.supervisor.engine import Engine
    from tests.bench.far_ends import StubChannel, stub_router

    given = {"http_enabled": False, "log_level": "ERROR", **config.get("settings", {})}
    if url := config.get("llm_url"):
        given |= {"uniapi_base_url": url, "uniapi_api_key": "bench-key"}
    settings = load_settings(**given)
    configure_logging(settings)
    router = build_router(settings) if url else stub_router(config.get("llm_seconds", 0.0))
    channels = ChannelRegistry([StubChannel()])
    database = Database(config["dsn"], "bench", None)
    engine = Engine(settings, database, router=router, channels=channels)
    running = asyncio.create_task(engine.run())
    while not engine._ready.is_set():
        if running.done():
            await running
        await asyncio.sleep(0.01)
    await router.warm()
    sampling = asyncio.create_task(sample_gaps(record))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.gather(running, sampling)


def main() -> None:
    config = json.loads(sys.argv[1])
    record = EngineRecord()

    def stop() -> None:
        sys.stdin.read()
        sys.stdout.write(json.dumps(record.__dict__) + "\n")
        sys.stdout.flush()
        os._exit(0)

    threading.Thread(target=stop, daemon=True).start()
    from engine.supervisor.engine import new_event_loop

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(config, record))


if __name__ == "__main__":
    main()
