"""`python -m tests.faults`: the crash harness and its mutation gates, and a table of what came of it."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from tests.faults.harness import LONG, SHORT, gate, run
from tests.faults.mutations import MUTATIONS
from tests.faults.report import table
from tests.support.crashable import CrashablePostgres


def main() -> int:
    """0 when nothing promised was broken and every mutation was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "--long", action="store_true", help="1,000 kills, 150 freezes, 150 terminations, 2 crashes"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-gates", action="store_true", help="leave the mutation gates out")
    parser.add_argument("--logs", type=Path, help="copy the engines' logs to this folder")
    chosen = parser.parse_args()
    plan = replace(LONG if chosen.long else SHORT, seed=chosen.seed)
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # of course they lose their connections
    with CrashablePostgres() as postgres:
        gates = [] if chosen.no_gates else [run(gate(m, chosen.seed), postgres) for m in MUTATIONS.values()]
        report = run(plan, postgres)
        if chosen.logs:
            chosen.logs.mkdir(parents=True, exist_ok=True)
            for log in postgres.folder.glob("*.log"):
                shutil.copy(log, chosen.logs)
    sys.stdout.write(table(report, gates) + "\n")
    return 0 if not report.violations and all(gate.caught for gate in gates) else 1


if __name__ == "__main__":
    sys.exit(main())
