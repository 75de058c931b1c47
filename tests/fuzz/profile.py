"""How many examples: few and always the same in every run, many and ever new under `SWITCHBOARD_FUZZ`.

SWITCHBOARD_FUZZ=50 pytest tests/fuzz tests/http/test_contract.py    # fifty times as many
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

FACTOR = int(os.environ.get("SWITCHBOARD_FUZZ", "1"))


def examples(number: int) -> int:
    """`number`, times as many as are asked for."""
    return number * FACTOR


def fuzz(number: int) -> Callable[[Any], Any]:
    """Hypothesis' settings for `number` examples in an ordinary run."""
    return settings(
        max_examples=examples(number),
        deadline=None,
        derandomize=FACTOR == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
