"""`python -m tests.fuzz.child TARGET SECONDS CORPUS CRASHES`: one target in a process of its own.

With atheris the parsers' bytecode reports what it has covered, and libFuzzer goes where something new is found.
Without it Hypothesis draws the inputs. Either way the last line says how many were tried.
"""

from __future__ import annotations

import logging
import random
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from tests.fuzz.catcher import Catcher
from tests.fuzz.targets import target_named

GUIDED = find_spec("atheris") is not None
INSTRUMENTED = ["engine", "console"]
MEMORY_MB = 2048
HANG_SECONDS = 20
BATCH = 200


def main() -> None:
    name, seconds, corpus, crashes = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    logging.disable()
    (guided if GUIDED else drawn)(name, seconds, corpus, crashes)


def guided(name: str, seconds: int, corpus: Path, crashes: Path) -> None:
    """Coverage-guided, from what lies in `corpus`, which grows. Does not return: libFuzzer ends the process."""
    import atheris  # type: ignore[import-not-found,unused-ignore]

    with atheris.instrument_imports(include=INSTRUMENTED):
        target = target_named(name)
    from tests.fuzz.mutator import mutate

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        made = mutate(data, target.head, random.Random(seed), lambda part: bytes(atheris.Mutate(part, most)))
        return made[:most]

    limits = [f"-max_total_time={seconds}", f"-timeout={HANG_SECONDS}", f"-rss_limit_mb={MEMORY_MB}"]
    arguments = [*limits, f"-artifact_prefix={crashes}/{name}-", "-print_final_stats=1", str(corpus)]
    atheris.Setup([sys.argv[0], *arguments], Catcher(target, crashes), custom_mutator=mutated)
    atheris.Fuzz()


def drawn(name: str, seconds: int, corpus: Path, crashes: Path) -> None:
    """By Hypothesis, from what lies in `corpus`."""
    from tests.fuzz.targets.inputs import draw

    target = target_named(name)
    catcher = Catcher(target, crashes)
    kept = [path.read_bytes() for path in sorted(corpus.iterdir())]
    for known in kept:
        catcher(known)
    end, round_ = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        round_ += 1
        draw(target, kept, catcher, BATCH, round_)
    sys.stderr.write(f"stat::number_of_executed_units: {catcher.executions}\n")


if __name__ == "__main__":
    main()
