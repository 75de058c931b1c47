"""Inputs for a target without atheris: Hypothesis chooses among its seeds and how they are changed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import strategies as st

from tests.fuzz.mutator import change_bytes, mutate
from tests.fuzz.targets.target import Target


def inputs(target: Target, seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Seeds changed in up to six places, and bytes that nobody has seen before."""
    changed = st.builds(
        _changed, st.sampled_from(seeds), st.integers(0, 2**32), st.integers(1, 6), st.just(target.head)
    )
    return st.one_of(changed, changed, changed, st.binary(max_size=200))


def _changed(data: bytes, seed: int, times: int, head: int) -> bytes:
    rng = random.Random(seed)
    for _ in range(times):
        data = mutate(data, head, rng, change_bytes(rng))
    return data
