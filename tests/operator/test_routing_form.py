"""A routing taken apart into fields: what nobody touches comes back as it was."""

from __future__ import annotations

from typing import Any

import pytest

from engine.llm.routing import parse_routing
from engine.model import PROVIDERS
from engine.operator.routing_form import put_together, take_apart

ROUTE = {"provider": "uniapi", "model": "m"}


@pytest.mark.parametrize(
    "value",
    [
        {"default": [ROUTE | {"timeout_seconds": 12.3456789, "temperature": 0.123456789}]},
    ],
)
def test_a_routing_comes_back_as_it_was(value: Any) -> None:
    assert parse_routing(put_together(take_apart(value)), PROVIDERS) == parse_routing(value, PROVIDERS)
