"""A property of a parser, as something that can be given any bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_jsonable_python


@dataclass(frozen=True)
class Target:
    """One parser under test."""

    name: str
    check: Callable[[bytes], None]
    """Raises whatever the parser raises beyond what it documents, and AssertionError where the property is broken."""
    seeds: Callable[[], list[bytes]]
    """Inputs of the shape that is really seen."""
    head: int = 0
    """Leading bytes that choose among cases; the rest is what is parsed."""


def texts_in(value: Any) -> list[str]:
    """Every text in a dataclass, model or JSON value, keys too."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for part in pair for text in texts_in(part)]
    if isinstance(value, list | tuple | set | frozenset):
        return [text for item in value for text in texts_in(item)]
    if value is None or isinstance(value, bool | int | float):
        return []
    return texts_in(to_jsonable_python(value, fallback=str))


def storable(value: Any) -> None:
    """PostgreSQL takes every text in it."""
    for text in texts_in(value):
        assert "\x00" not in text
        text.encode()  # no lone surrogate


def words_of(data: bytes) -> str:
    """Text in which anything can stand that a Python text can hold, lone surrogates too."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def typed_like(*samples: str) -> Callable[[], list[bytes]]:
    """Seeds of what people type."""
    return lambda: [sample.encode() for sample in samples]
