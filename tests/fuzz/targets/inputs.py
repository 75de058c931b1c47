"""Inputs for a target without atheris: Hypothesis chooses among its seeds and how they are changed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from hypothesis import given, seed
from hypothesis import strategies as st

from tests.fuzz.mutator import change_bytes, mutate
from tests.fuzz.profile import fuzz
from tests.fuzz.targets.target import Target


def draw(
    target: Target, seeds: Sequence[bytes], take: Callable[[bytes], None], number: int, round_: int = 0
) -> None:
    """Gives `take` a number of inputs; another `round_` brings others."""

    @seed(round_)
    @fuzz(number)
    @given(inputs(target, seeds))
    def hold(data: bytes) -> None:
        take(data)

    hold()


def inputs(target: Target, seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Seeds changed in up to six places, and bytes that nobody has seen before."""
    changed = st.builds(
        _changed, st.sampled_from(seeds), st.integers(0, 2**32), st.integers(1, 6), st.just(target.head)
    )
    return st.one_of(changed, changed, changed, st.binary(max_size=200))


def _changed(data: bytes, chance: int, times: int, head: int) -> bytes:
    rng = random.Random(chance)
    for _ in range(times):
        data = mutate(data, head, rng, change_bytes(rng))
    return data
