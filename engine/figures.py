"""Numbers as people read and type them."""

from __future__ import annotations


def exact(number: float) -> str:
    """A number as short as it can be written without becoming another."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)
