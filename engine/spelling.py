"""Keys that nobody knows, and what was probably meant."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

from engine.text import one_line

SHOWN = 80
PREFIX = "switchboard_"
"""Of environment variables; in a file the name stands without it."""


def unknown_key(given: Collection[str], known: Collection[str], prefix: str = "") -> tuple[str, str] | None:
    """The first of `given` that is not among `known`, fit to be shown, and a remedy; None when all are known.

    `prefix` is what stands before each name where it was given.
    """
    for key in given:
        if key not in known:
            near = nearest(key, known)
            meant = "Take it out, or correct its spelling."
            if near is not None:
                meant = f"Write {prefix}{near.upper() if prefix else near} in its place, or take it out."
            return prefix + one_line(key, SHOWN), meant
    return None


def nearest(key: str, known: Collection[str]) -> str | None:
    """Which of `known` was probably meant; None: none of them."""
    bare = key.lower().removeprefix(PREFIX)
    names = {name.lower(): name for name in sorted(known)}  # a field before its environment variable
    near = [bare] if bare in names else get_close_matches(bare, names, 1, 0.6)
    return names[near[0]] if near else None
