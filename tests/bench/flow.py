"""The parts drain, full and trickle: the engine, and floor and peers in turn with it, as ratios within a repetition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from tests.bench import messages
from tests.bench.bench import Bench
from tests.bench.messages import Passage, percentile
from tests.bench.peers import FLOORS
from tests.bench.table import Figure

FOREIGN = 0.2
RATIOS = {
    ("drain", "cte"): 4.0,
    ("drain", "batch50"): 0.33,
    ("drain", "PgQueuer"): 8.0,
    ("drain", "Procrastinate"): 30.0,
    ("full", "PgQueuer"): 3.0,
}
LATENCY = 0.7


def drain(bench: Bench) -> list[Figure]:
    """A backlog."""
    return _rates(
        bench, "drain", lambda: messages.drain(bench.server, bench.ground, bench.config, bench.messages)
    )


def full(bench: Bench) -> list[Figure]:
    """Arrivals and processing."""
    return _rates(
        bench, "full", lambda: messages.full(bench.server, bench.ground, bench.config, bench.messages // 2)
    )


def _rates(bench: Bench, kind: str, measure: Callable[[], Passage]) -> list[Figure]:
    passages: list[Passage] = []
    ratios: dict[str, list[float]] = {}
    for repetition in range(bench.repetitions):
        others = _others(bench, kind)
        passage = measure()
        passages.append(passage)
        for name, rate in others.items():
            ratios.setdefault(name, []).append(passage.rate / rate)
        bench.note(kind, {**asdict(passage), "rate": passage.rate, "others": others})
        bench.tell(
            f"{kind} {repetition + 1}/{bench.repetitions}: {passage.rate:,.0f}/s, CPU a message "
            f"{passage.cpu_us:.0f} µs (engine {passage.engine_us:.0f}, server {passage.server_us:.0f})"
            + (f"; others used {passage.foreign:.0%} of the machine" if passage.foreign > 0.05 else "")
        )
    cpu = [passage.cpu_us / 1000 for passage in passages]
    figures = [
        Figure(kind, "messages/s", [passage.rate for passage in passages]),
        Figure(kind, "CPU a message, all in all", cpu, "ms", most=0.3 if kind == "drain" else None),
    ]
    if (foreign := max(passage.foreign for passage in passages)) > FOREIGN:
        figures[0].notes.append(
            f"others used up to {foreign:.0%} of the machine: measure again on a quiet one"
        )
    for name, values in ratios.items():
        figures.append(
            Figure(
                kind,
                f"{'rate of floor' if name in FLOORS[kind] else 'rate of'} {name}",
                values,
                "×",
                least=RATIOS.get((kind, name)),
            )
        )
    return figures


def trickle(bench: Bench) -> list[Figure]:
    """Insert to sent at 50 messages a second."""
    ranks = (50, 99)
    own: dict[int, list[float]] = {rank: [] for rank in ranks}
    ratios: dict[tuple[str, int], list[float]] = {}
    for repetition in range(bench.repetitions):
        others = {}
        for peer in bench.beside.peers if bench.beside else ():
            row = bench.beside.peer(peer, "trickle", 0) if bench.beside else None
            if row and "sent_ms" in row:
                others[peer.name] = {rank: row["sent_ms"][f"p{rank}"] for rank in ranks}
        taken = messages.trickle(bench.server, bench.ground, bench.config)
        for rank in ranks:
            own[rank].append(percentile(taken, rank))
            for name, theirs in others.items():
                ratios.setdefault((name, rank), []).append(own[rank][-1] / theirs[rank])
        bench.note("trickle", {"ms": taken, "others": others})
        bench.tell(
            f"trickle {repetition + 1}/{bench.repetitions}: p50 {own[50][-1]:.1f} ms, p99 {own[99][-1]:.1f} ms"
        )
    figures = [Figure("trickle", f"insert → sent p{rank}", own[rank], "ms") for rank in ranks]
    for (name, rank), values in ratios.items():
        goal = LATENCY if name == "graphile-worker" else None
        figures.append(Figure("trickle", f"p{rank} of {name}", values, "×", most=goal))
    return figures


def _others(bench: Bench, kind: str) -> dict[str, float]:
    """Messages a second of floor and peers."""
    rates: dict[str, float] = {}
    if bench.beside is None:
        return rates
    for name in FLOORS[kind]:
        rates[name] = bench.beside.floor(kind, name)
        bench.tell(f"{kind}, floor {name}: {rates[name]:,.0f}/s")
    for peer in bench.beside.peers:
        row = bench.beside.peer(peer, kind, bench.messages // 4)
        if row:
            rates[peer.name] = row["rate"]
            bench.tell(f"{kind}, {peer.name}: {row['rate']:,.0f}/s")
    return rates
