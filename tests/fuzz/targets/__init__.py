"""What is fuzzed: for each family of parsers a module with its targets, every target with the property it holds to."""

from __future__ import annotations

from importlib import import_module

from tests.fuzz.targets.target import Target

FAMILIES = {
    "webhook": "webhooks",
    "door": "doors",
    "text": "text",
    "answer": "answers",
    "send": "sends",
    "search": "searches",
    "typed": "typed",
    "config": "configuration",
}
"""The module by what its targets' names begin with."""


def family(prefix: str) -> list[Target]:
    """The targets whose names begin with `prefix`. Imports their parsers: who wants coverage prepares that before."""
    found: list[Target] = import_module(f"{__name__}.{FAMILIES[prefix]}").TARGETS
    assert all(target.name.startswith(f"{prefix}-") for target in found)
    return found


def target_named(name: str) -> Target:
    return next(target for target in family(name.partition("-")[0]) if target.name == name)


def targets() -> dict[str, Target]:
    """Every target by its name."""
    return {target.name: target for prefix in FAMILIES for target in family(prefix)}
