"""Words and figures as people read them."""

from __future__ import annotations

import pytest

from console.words import span


@pytest.mark.parametrize(
    ("ms", "told"),
    [
        (None, ""),
        (14, "14 ms"),
        (1_240, "1.24 s"),
        (59_994, "59.99 s"),
        (200_000, "3m 20s"),
        (119_700, "2m 00s"),
        (23_267_600, "6h 27m"),
        (276_000_000, "3d 4h"),
    ],
)
def test_a_span_is_told_in_the_units_of_its_size(ms: float | None, told: str) -> None:
    assert span(ms) == told
