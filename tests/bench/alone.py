"""The parts rest and llm: an engine with nothing to do, and what a call to an LLM costs the one who makes it."""

from __future__ import annotations

import asyncio
import http.client
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.bench import Bench
from tests.bench.engine_process import clean_environment
from tests.bench.llm_process import far_end
from tests.bench.past import INBOUND
from tests.bench.server import free_port, process_cpu, process_rss
from tests.bench.table import Figure
from tests.bench.tls_process import tls_far_end

SETTLE_SECONDS = 5.0
IDLE_SECONDS = 20.0
CALLS_SECONDS = 3.0
#: Calls in flight, and how long the far end takes, so that so many really are.
IN_FLIGHT = {1: 0.0, 16: 0.0, 64: 0.0, 1_000: 1.0}
IN_FLIGHT_TLS = {1: 0.05, 16: 0.05, 64: 0.05, 500: 0.5}
"""The far end is slow enough to be no part of what is measured, and handshakes are over before."""


def rest(bench: Bench) -> list[Figure]:
    """`switchboard engine` on its migrated embedded database."""
    starts, cpus, sizes = [], [], []
    with tempfile.TemporaryDirectory(prefix="switchboard-bench-") as folder, far_end(0.0) as url:
        with _engine(Path(folder), url):
            bench.tell("rest: database made and migrated")
        for number in range(bench.repetitions):
            with _engine(Path(folder), url) as (pid, seconds):
                starts.append(seconds)
                if number == 0:
                    time.sleep(SETTLE_SECONDS)
                    before = process_cpu(pid)
                    time.sleep(IDLE_SECONDS)
                    cpus.append((process_cpu(pid) - before) / IDLE_SECONDS * 100)
                    sizes.append(process_rss(pid))
            bench.tell(f"rest: ready after {seconds:.2f} s")
    bench.note("rest", {"start": starts, "cpu_percent": cpus, "rss": sizes})
    return [
        Figure("rest", "start to ready, embedded database", starts, "s", most=1.0),
        Figure("rest", "CPU at rest", cpus, "%", most=0.5),
        Figure("rest", "RSS at rest", sizes, "MiB", most=90),
    ]


@contextmanager
def _engine(folder: Path, llm_url: str) -> Iterator[tuple[int, float]]:
    """Its process id, and the seconds from its start until it said that it was ready."""
    port = free_port()
    env = clean_environment() | {
        "SWITCHBOARD_DATA_DIR": str(folder),
        "SWITCHBOARD_HTTP_PORT": str(port),
        "UNIAPI_BASE_URL": llm_url,
        "UNIAPI_API_KEY": "bench-key",
    }
    began = time.perf_counter()
    command = [sys.executable, "-c", "from console.main import main; main()", "engine"]
    with (
        (folder / "log").open("ab") as log,
        subprocess.Popen(command, cwd=folder, env=env, stderr=log) as process,
    ):
        try:
            while not _ready(port):
                if process.poll() is not None or time.perf_counter() - began > 60:
                    raise RuntimeError(
                        f"the engine did not come up; its log is\n{(folder / 'log').read_text()}"
                    )
                time.sleep(0.01)
            yield process.pid, time.perf_counter() - began
        finally:
            process.terminate()


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/api/v1/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def llm(bench: Bench) -> list[Figure]:
    """CPU of one call through the real provider, by how many are under way."""
    figures = []
    for calls, seconds in IN_FLIGHT.items():
        with far_end(seconds) as url:
            figures.append(_calls(bench, "", url, calls))
    for calls, seconds in IN_FLIGHT_TLS.items():
        with tls_far_end(seconds) as (url, authority), _believing(authority):
            figures.append(_calls(bench, " over TLS", url, calls))
            figures.append(_calls(bench, " over HTTP/2", url, calls, http2=True))
    return figures


def _calls(bench: Bench, how: str, url: str, calls: int, *, http2: bool = False) -> Figure:
    taken = [asyncio.run(_call(url, calls, http2=http2)) for _ in range(bench.repetitions)]
    bench.tell(f"llm, {calls} in flight{how}: {sorted(taken)[len(taken) // 2]:.3f} ms of CPU a call")
    bench.note("llm", {"in_flight": calls, "how": how, "ms": taken})
    return Figure("llm", f"client CPU a call{how}, {calls:,} in flight", taken, "ms")


@contextmanager
def _believing(authority: Path) -> Iterator[None]:
    """Clients of this process believe certificates of that authority."""
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(authority)
    try:
        yield
    finally:
        os.environ.pop("SSL_CERT_FILE")
        if before is not None:
            os.environ["SSL_CERT_FILE"] = before


async def _call(url: str, in_flight: int, *, http2: bool) -> float:
    """Milliseconds of CPU a call."""
    from pydantic import SecretStr

    from engine.llm.providers.base import ChatRequest
    from engine.llm.providers.uniapi import UniAPI
    from engine.model import LLMMessage

    provider = UniAPI(url, SecretStr("bench-key"), http2=http2)
    said = [LLMMessage(role="user", content=INBOUND % number) for number in range(20)]
    request = ChatRequest("gemini-3-flash-preview", said)
    done = 0
    until = 0.0

    async def one_after_another() -> None:
        nonlocal done
        while time.monotonic() < until:
            await provider.complete(request, timeout=30)
            done += 1

    async def run(seconds: float) -> None:
        nonlocal until
        until = time.monotonic() + seconds
        await asyncio.gather(*(one_after_another() for _ in range(in_flight)))

    try:
        await run(0.2)  # connections are made
        done = 0
        cpu = time.process_time()
        await run(CALLS_SECONDS)
        return (time.process_time() - cpu) / done * 1000
    finally:
        await provider.aclose()
