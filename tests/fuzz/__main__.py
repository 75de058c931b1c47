"""`python -m tests.fuzz [target …] [--seconds N]`: fuzzes the parsers of foreign input, and a table of what came of it.

Guided by coverage where atheris is installed (`uv run --group fuzz python -m tests.fuzz`), else by Hypothesis.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.child import GUIDED
from tests.fuzz.targets import targets
from tests.fuzz.targets.target import Target

PATIENCE_SECONDS = 120
"""Longer than it was given, and a target that does not come back is ended."""
_COVERED = re.compile(r"cov: (\d+) ft: (\d+)")
_TRIED = re.compile(r"number_of_executed_units: (\d+)")


@dataclass(frozen=True)
class Came:
    """What came of one target."""

    name: str
    executions: int
    coverage: str
    """Edges of the parsers' code that were reached."""
    features: str
    """Edges with how often they were taken, and comparisons that were met."""
    crashes: list[Path]
    ended: str
    """Why it did not end by itself; "" when it did."""


def main() -> int:
    """0 when no target failed."""
    chosen = _parser().parse_args()
    every = targets()
    if unknown := [name for name in chosen.targets if name not in every]:
        raise SystemExit(f"There is no target {', '.join(unknown)}. Targets: {', '.join(every)}.")
    if chosen.reproduce is not None:
        return _reproduce([every[name] for name in chosen.targets], chosen.reproduce)
    folder = Path(tempfile.mkdtemp(prefix="switchboard-fuzz-"))
    by = "atheris, guided by coverage" if GUIDED else "Hypothesis (atheris is not installed)"
    sys.stdout.write(f"{by}; {chosen.seconds} s a target\n\n{ROW.format(*TITLES)}\n")
    came = []
    for name in chosen.targets or every:
        came.append(_run(every[name], chosen.seconds, chosen.corpus or folder / "corpus", folder))
        one = came[-1]
        told = ROW.format(one.name, one.executions, one.coverage, one.features, len(one.crashes))
        sys.stdout.write(f"{told}{one.ended}\n")
        sys.stdout.flush()
    return _tell(came)


def _run(target: Target, seconds: int, corpora: Path, folder: Path) -> Came:
    corpus, crashes = corpora / target.name, folder / "crashes"
    for made in (corpus, crashes):
        made.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)
    before = set(crashes.iterdir())
    log = folder / f"{target.name}.log"
    command = [sys.executable, "-m", "tests.fuzz.child", target.name, str(seconds), str(corpus), str(crashes)]
    with log.open("wb") as out:
        try:
            code = subprocess.run(
                command, stdout=out, stderr=out, timeout=seconds + PATIENCE_SECONDS
            ).returncode
            ended = "" if code == 0 else f"  ended with {code}, see {log}"
        except subprocess.TimeoutExpired:
            ended = f"  did not end, see {log}"
    said = log.read_text(errors="replace")
    covered = _COVERED.findall(said)
    tried = _TRIED.search(said)
    found = sorted(path for path in set(crashes.iterdir()) - before if path.suffix != ".txt")
    coverage, features = covered[-1] if covered else ("–", "–")
    return Came(target.name, int(tried[1]) if tried else 0, coverage, features, found, ended)


TITLES = ("target", "executions", "coverage", "features", "crashes")
ROW = "{:<30}{:>12}{:>10}{:>10}{:>9}"


def _tell(came: list[Came]) -> int:
    """What was found and how to see it again; the exit code."""
    for one in came:
        for crash in one.crashes:
            cause = crash.with_suffix(".txt")
            last = (
                cause.read_text().strip().splitlines()[-1]
                if cause.exists()
                else "it hung, or took too much memory"
            )
            sys.stdout.write(
                f"\n{one.name}: {last[:200]}\n  python -m tests.fuzz {one.name} --reproduce {crash}\n"
            )
    return 1 if any(one.crashes or one.ended for one in came) else 0


def _reproduce(chosen: list[Target], path: Path) -> int:
    if len(chosen) != 1:
        raise SystemExit("--reproduce wants the one target that the input is for.")
    chosen[0].check(path.read_bytes())
    sys.stdout.write("The property holds.\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="target", help="all of them when none is named")
    parser.add_argument("--seconds", type=int, default=60, metavar="N", help="for each target (60)")
    parser.add_argument(
        "--corpus", type=Path, metavar="DIR", help="inputs kept from run to run; else thrown away"
    )
    parser.add_argument(
        "--reproduce", type=Path, metavar="FILE", help="one input to one target, with its traceback"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
