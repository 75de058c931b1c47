"""What differs between two texts: unified lines, and within changed lines the words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence

from textual.content import Content

from console.sanitise import cell
from console.words import BAD, GOOD, MUTED, STRONG

_WORDS = re.compile(r"\s+|\w+|[^\w\s]")
LINE_LIMIT = 4000


def diff_content(lines: Sequence[str]) -> Content:
    """The lines of a unified diff; in lines that took another's place, the changed words stand out."""
    return Content("\n").join(list(_drawn(lines)))


def _drawn(lines: Sequence[str]) -> Iterator[Content]:
    removed: list[str] = []
    added: list[str] = []
    for line in lines:
        if line.startswith(("---", "+++")):
            continue
        if line.startswith("-") and not added:
            removed.append(line[1:])
        elif line.startswith("+"):
            added.append(line[1:])
        else:
            yield from _changed(removed, added)
            removed, added = ([line[1:]], []) if line.startswith("-") else ([], [])
            if line.startswith("@@"):
                yield cell(line, MUTED)
            elif not line.startswith("-"):
                yield Content.assemble("  ", cell(line[1:], MUTED, LINE_LIMIT))
    yield from _changed(removed, added)


def _changed(removed: list[str], added: list[str]) -> Iterator[Content]:
    paired = min(len(removed), len(added))
    before = [_words(old, new) for old, new in zip(removed, added, strict=False)]
    for at, text in enumerate(removed):
        body = before[at][0] if at < paired else cell(text, BAD, LINE_LIMIT)
        yield Content.assemble(("- ", BAD), body)
    for at, text in enumerate(added):
        body = before[at][1] if at < paired else cell(text, GOOD, LINE_LIMIT)
        yield Content.assemble(("+ ", GOOD), body)


def _words(old: str, new: str) -> tuple[Content, Content]:
    """Both lines, the words that differ in bold."""
    left, right = _WORDS.findall(old[:LINE_LIMIT]), _WORDS.findall(new[:LINE_LIMIT])
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    was: list[Content] = []
    now: list[Content] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        style = "" if tag == "equal" else STRONG
        was.append(_piece(left[a:b], BAD, style))
        now.append(_piece(right[c:d], GOOD, style))
    return Content("").join(was), Content("").join(now)


def _piece(words: list[str], colour: str, style: str) -> Content:
    content = cell("".join(words), colour, LINE_LIMIT)
    return content.stylize(style) if style else content
