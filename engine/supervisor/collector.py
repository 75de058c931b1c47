"""The garbage collector of a process that runs an engine."""

from __future__ import annotations

import gc
from functools import cache

GC_THRESHOLD = 50_000
"""Objects made and not freed before the youngest are looked through; Python's default is 700."""


@cache
def settle_collector() -> None:
    """Leave what is loaded by now out of all walks, and walk what is young less often. Once a process.

    Without it each few hundred messages cost a walk through all modules and the price table, during which
    neither the engine nor a console in its process moves. A process that loads with the collector off, to be ready
    sooner, has it back from here.
    """
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    gc.enable()
