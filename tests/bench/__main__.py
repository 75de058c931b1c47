"""`python -m tests.bench [part …]`: how fast the engine is, against the goals it is held to."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.bench.bench import Bench, tell
from tests.bench.peers import Beside
from tests.bench.server import measured_server
from tests.bench.table import Figure, machine, table

PARTS = {
    "drain": "tests.bench.flow",
    "full": "tests.bench.flow",
    "trickle": "tests.bench.flow",
    "inflight": "tests.bench.crowd",
    "scaleout": "tests.bench.crowd",
    "growth": "tests.bench.growth",
    "rest": "tests.bench.alone",
    "llm": "tests.bench.alone",
    "cost": "tests.bench.cost",
    "console": "tests.bench.console",
}
"""Where each part is: a function of its name that takes a Bench, else `main`, which takes arguments of its own."""


def main(argv: list[str] | None = None) -> int:
    """Measure and print; 0 when every goal that was measured is met."""
    chosen = _parser().parse_args(argv)
    if unknown := [name for name in chosen.parts if name not in PARTS]:
        raise SystemExit(f"There is no part {', '.join(unknown)}. Parts: {', '.join(PARTS)}.")
    figures: list[Figure] = []
    with measured_server(chosen.dsn) as server:
        beside = Beside(chosen.shared, server, node=chosen.node, tell=tell) if chosen.shared else None
        bench = Bench(server, chosen.repetitions, chosen.messages, dict(chosen.set), beside, chosen.sizes)
        about = machine(server.version)
        tell(about)
        parts = chosen.parts or [part for part in PARTS if find_spec(PARTS[part])]
        try:
            failed = [part for part in parts if not _run(part, bench, figures)]
        finally:
            bench.close()
        settings = ", ".join(f"{name}={value}" for name, value in chosen.set) or "the defaults, without HTTP"
        told = f"{about}\nEngine settings: {settings}. Medians of {bench.repetitions}.\n\n{table(figures)}\n"
    sys.stdout.write(told)
    if chosen.json:
        rows = [{**figure.__dict__, "value": figure.value, "met": figure.met} for figure in figures]
        chosen.json.write_text(json.dumps({"about": about, "figures": rows, "raw": bench.raw}, indent=1))
    return 0 if not failed and all(figure.met is not False for figure in figures) else 1


def _run(part: str, bench: Bench, figures: list[Figure]) -> bool:
    """Measure a part; False when it judged itself and is not satisfied."""
    module = import_module(PARTS[part])
    measure: Callable[[Bench], list[Figure]] | None = getattr(module, part, None)
    if measure is None:
        return bool(module.main([]) == 0)
    figures += measure(bench)
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=main.__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all when none is named"
    )
    parser.add_argument("--shared", type=Path, metavar="DIR", help="directory of the floor and the peers")
    parser.add_argument(
        "--node", type=Path, metavar="DIR", help="folder whose node_modules hold graphile-worker"
    )
    parser.add_argument("--repetitions", type=int, default=3, metavar="N")
    parser.add_argument("--messages", type=int, default=8000, metavar="N", help="messages of a drain (8000)")
    parser.add_argument("--dsn", help="a PostgreSQL to measure on, as its superuser; else one is started")
    parser.add_argument(
        "--set",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the engine, e.g. turns_in_flight=512",
    )
    parser.add_argument(
        "--sizes",
        type=lambda given: tuple(int(size) for size in given.split(",")),
        default=Bench.sizes,
        metavar="N,N",
        help="messages of the pasts that growth compares (10000,200000; the goal is 10000,5000000)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep everything measured")
    return parser


def _setting(given: str) -> tuple[str, Any]:
    name, separator, value = given.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError("is NAME=VALUE")
    return name, value


if __name__ == "__main__":
    sys.exit(main())
