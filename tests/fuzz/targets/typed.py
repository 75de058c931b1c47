"""What people type as a value: understood, or refused in words; shown and typed again it is the same."""

from __future__ import annotations

import json
from functools import partial

import typer

from console.command import moment
from console.screens.settings_upkeep import parse_number
from console.screens.settings_words import parse, typed
from engine.operator.audit import BadInput
from engine.operator.configuration import check_setting
from tests.fuzz.targets.target import Target, storable, typed_like, words_of


def times(data: bytes) -> None:
    try:
        at = moment(words_of(data))
    except typer.BadParameter as refused:
        assert "is not a time" in str(refused)
        return
    assert at.tzinfo is not None
    at.isoformat()


def values(key: str, data: bytes) -> None:
    """A setting as it is typed; what is stored is typed again as the same."""
    try:
        stored = check_setting(key, parse(key, words_of(data)))
    except (ValueError, BadInput) as refused:
        assert str(refused)
        return
    storable(stored)
    json.dumps(stored, allow_nan=False)
    assert check_setting(key, parse(key, typed(key, stored))) == stored, typed(key, stored)


def numbers(data: bytes) -> None:
    try:
        number = parse_number(words_of(data))
    except ValueError as refused:
        assert "is not a number" in str(refused)
        return
    assert number is None or isinstance(number, float)


TIMES = ("2026-03-14", "2026-03-14T12:00+02:00", "30min", "3d", "0001-01-01T00:00+14:00")
VALUES = ("3.5", "$1234567.891", "1 9", "telegram, waha", "none", "inf", "12h")
SETTINGS = ("daily_budget_usd", "paused_channels", "quiet_window", "max_message_age_hours")

TARGETS = [
    Target("typed-time", times, typed_like(*TIMES)),
    Target("typed-number", numbers, typed_like("3 days", "1e5", "nan", "", "٣")),
    *(Target(f"typed-{key}", partial(values, key), typed_like(*VALUES)) for key in SETTINGS),
]
