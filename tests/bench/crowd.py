"""The parts inflight and scaleout: many turns that wait at once, and several engines on one database."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict

from tests.bench import messages
from tests.bench.bench import Bench
from tests.bench.llm_process import far_end
from tests.bench.messages import Ground, Run, percentile, plant_backlog, running
from tests.bench.server import process_rss
from tests.bench.table import Figure

TURNS = 1_000
SLOW_SECONDS = 2.0
WAVES = 8
"""Each of the turns in flight is replaced this often."""
SHORT_SECONDS = 0.05
ENGINES = {1: None, 2: 1.8, 4: 3.0}
"""How many engines, and how many times as fast as one they are to be."""
EACH = 4_000
EACH_IN_FLIGHT = 16
"""Turns that one of several engines runs at once: few enough that the LLM, not the processor, sets its pace."""


def inflight(bench: Bench) -> list[Figure]:
    """1,000 turns at once on an LLM that takes 2 s, over HTTP."""
    rates, sizes, gaps = [], [], []
    for _ in range(bench.repetitions):
        with far_end(SLOW_SECONDS) as url:
            settings = {**bench.settings, "turns_in_flight": TURNS}
            config = {"llm_url": url, "settings": settings}
            with running(bench.server, bench.ground, config) as run:
                rate, size, gap = _wave(run)
        rates.append(rate)
        sizes.append(size)
        gaps.append(gap)
        bench.note("inflight", {"rate": rate, "rss": size, "gap_ms": gap})
        bench.tell(f"inflight: {rate:.0f} replies/s, {size:.0f} MiB, loop gap p99 {gap:.1f} ms")
    return [
        Figure("inflight", "replies/s with 1,000 turns on a 2 s LLM", rates, least=450),
        Figure("inflight", "RSS at most", sizes, "MiB", most=250),
        Figure("inflight", "loop gap p99", gaps, "ms", most=50),
    ]


def _wave(run: Run) -> tuple[float, float, float]:
    """Replies a second while all are in flight, MiB at most, milliseconds of the loop's gap."""
    count = TURNS * WAVES
    plant_backlog(run.connection, count)
    run.start()
    after = run.last_id()
    peak = 0.0
    ended = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.1):
            peak = max(peak, process_rss(run.engines[0].pid))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        run.go()
        began = time.time()
        run.wait_sent(after, count)
    finally:
        ended.set()
        watching.join()
    ranked = "percentile_disc(%s) WITHIN GROUP (ORDER BY extract(epoch FROM replied_at))"
    found = f"SELECT {ranked} FROM et_messages WHERE replied_at > now() - interval '5 minutes' AND id > %s"
    first_id = run.value("SELECT max(message_id) FROM et_outbound_queue WHERE id <= %s", after)
    # The first wave comes at once after 2 s of nothing, the last one has no successors: both are left out.
    share = 1 / WAVES
    early, late = (float(run.value(found, at, first_id)) for at in (share, 1 - share))
    gaps = [gap for at, gap in run.finish(count).gaps if at >= began]
    return count * (1 - 2 * share) / (late - early), peak, percentile(gaps, 99) * 1000


def scaleout(bench: Bench) -> list[Figure]:
    """1, 2 and 4 engines on one database, with an LLM that takes 50 ms."""
    settings = {**bench.settings, "turns_in_flight": EACH_IN_FLIGHT}
    config = {"llm_seconds": SHORT_SECONDS, "settings": settings}
    ground = Ground(bench.server, messages=80_000, threads=4_000)
    rates: dict[int, list[float]] = {engines: [] for engines in ENGINES}
    try:
        for _ in range(bench.repetitions):
            for engines in ENGINES:
                passage = messages.drain(bench.server, ground, config, EACH * engines, engines)
                rates[engines].append(passage.rate)
                bench.note("scaleout", {"engines": engines, "rate": passage.rate, **asdict(passage)})
                bench.tell(
                    f"scaleout, {engines}: {passage.rate:,.0f}/s, CPU a message {passage.cpu_us:.0f} µs (engines "
                    f"{passage.engine_us:.0f}, server {passage.server_us:.0f}); others {passage.foreign:.0%}"
                )
    finally:
        ground.close()
    figures = []
    for engines, goal in ENGINES.items():
        figures.append(Figure("scaleout", f"messages/s of {engines} on a 50 ms LLM", rates[engines]))
        if goal is not None:
            ratios = [many / one for many, one in zip(rates[engines], rates[1], strict=True)]
            figures.append(Figure("scaleout", f"{engines} engines, of one", ratios, "×", least=goal))
    return figures
