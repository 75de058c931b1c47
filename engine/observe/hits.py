"""Where the words of a search stand in a text, for whoever shows it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from engine.text import one_line

AROUND = 40
"""Characters shown before the first hit of a text that is cut."""
READ = 10_000
ALIKE = 0.6


def pattern(words: Sequence[str]) -> re.Pattern[str] | None:
    """Any of the words, in any case; None when there is none."""
    parts = sorted({one_line(word, 200).strip() for word in words} - {""}, key=len, reverse=True)
    found = "|".join(r"\W+".join(map(re.escape, part.split())) for part in parts)
    return re.compile(found, re.IGNORECASE) if parts else None


def spans(text: str, words: Sequence[str]) -> list[tuple[int, int]]:
    """Begin and end of each hit in `text`, which has been made safe already."""
    found = pattern(words)
    return [match.span() for match in found.finditer(text) if match[0]] if found else []


def excerpt(text: str | None, words: Sequence[str], width: int = 300) -> str:
    """One safe line of at most `width` characters, from shortly before the first hit on."""
    line = one_line((text or "")[:READ], READ)
    hits = spans(line, words)
    begin = hits[0][0] - AROUND if hits and len(line) > width else 0
    if begin <= AROUND:
        return one_line(line, width)
    return one_line(f"…{line[begin:]}", width)


def alike(text: str | None, words: Sequence[str]) -> list[str]:
    """The words of a text that a misspelt search was meant for."""
    tokens = {token.casefold(): token for token in re.findall(r"\w+", (text or "")[:READ])}
    return [
        tokens[close]
        for word in words
        for close in difflib.get_close_matches(word.casefold(), list(tokens), n=2, cutoff=ALIKE)
    ]
