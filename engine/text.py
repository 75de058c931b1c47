"""Foreign text, made safe for a sink: screen, log, clipboard, window title, exported file, database.

The database keeps what a customer wrote, less what PostgreSQL cannot hold (`clean_for_storage`,
`clean_json`); everything that shows text to a person passes it through `sanitise` or one of its kin.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

LIMIT = 20_000
"""Characters of one text shown at most."""
MAX_MARKS = 4
"""Combining marks that may follow each other; more is "zalgo", which paints over its neighbours."""
MAX_DEPTH = 40
"""Levels of nested JSON kept; what lies deeper is replaced by `CUT`."""
CUT = "…"
BIDI_MARK = "⇄"
"""Stands where a control that reorders the line was."""

_TAB = "    "
_REPLACEMENT = "\ufffd"
_JOINERS = "\u200c\u200d"
_BIDI = ((0x061C, 0x061C), (0x200E, 0x200F), (0x202A, 0x202E), (0x2066, 0x2069))
_PRIVATE = ((0xE000, 0xF8FF), (0xF0000, 0x10FFFF))
_REPLACED = ((0x80, 0x9F), (0xD800, 0xDFFF), *_PRIVATE)
_DROPPED: tuple[tuple[int, int], ...] = (
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180E, 0x180E),
    (0x200B, 0x200B),
    (0x2028, 0x2029),
    (0x2060, 0x2065),
    (0x206A, 0x206F),
    (0x3164, 0x3164),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF9, 0xFFFB),
    (0xE0000, 0xE007F),
)
_MARK_BLOCKS = (
    range(0x300, 0x3100),
    range(0xA600, 0xAC00),
    range(0xFB00, 0xFE30),
    range(0x10100, 0x12000),
    range(0x13400, 0x13500),
    range(0x16A00, 0x17000),
    range(0x1BC00, 0x1BD00),
    range(0x1CF00, 0x1D300),
    range(0x1DA00, 0x1EA00),
    range(0xE0100, 0xE01F0),
)
"""Every block of Unicode that holds combining marks."""


def _char_class(ranges: Iterable[tuple[int, int]]) -> str:
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)


def _mark_ranges() -> list[tuple[int, int]]:
    """Runs of combining marks (categories Mn, Mc, Me) in `_MARK_BLOCKS`."""
    runs: list[tuple[int, int]] = []
    for block in _MARK_BLOCKS:
        for code, category in zip(block, map(unicodedata.category, map(chr, block)), strict=True):
            if category not in {"Mn", "Mc", "Me"}:
                continue
            if runs and runs[-1][1] == code - 1:
                runs[-1] = (runs[-1][0], code)
            else:
                runs.append((code, code))
    return runs


def _too_many(marks: str) -> re.Pattern[str]:
    """A run of marks longer than `MAX_MARKS`; a joiner in between does not end the run."""
    one = f"[{marks}][{_JOINERS}]*"
    return re.compile(f"((?:{one}){{{MAX_MARKS}}})(?:{one})+")


def _replace(match: re.Match[str]) -> str:
    """What stands on screen for one unsafe character."""
    code = ord(match[0])
    if code == 9:
        return _TAB
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if any(first <= code <= last for first, last in _REPLACED):
        return _REPLACEMENT
    if any(first <= code <= last for first, last in _BIDI):
        return BIDI_MARK
    return ""


def _split(ranges: Iterable[tuple[int, int]]) -> tuple[str, str]:
    """The ranges as two classes: the BMP's, which `re` looks up in a bitmap, and the rest, which it walks."""
    ranges = list(ranges)
    return (
        _char_class(pair for pair in ranges if pair[1] <= 0xFFFF),
        _char_class(pair for pair in ranges if pair[0] > 0xFFFF),
    )


_UNSAFE_ASCII = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_BMP, _BEYOND = _split(_REPLACED + _BIDI + _DROPPED)
_UNSAFE = re.compile(rf"[\x00-\x09\x0b-\x1f\x7f{_BMP}]")
_UNSAFE_BEYOND = re.compile(f"[{_BEYOND}]")
_MAY_BE_MARK_BEYOND = re.compile("[\U00010000-\U0001efff\U000e0100-\U000e01ef]")  # no emoji among them
_MAY_BE_MANY_MARKS = re.compile(rf"[^\x00-\u02ff]{{{MAX_MARKS + 1}}}")  # the first mark is U+0300
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]")


class _Marks(NamedTuple):
    """The patterns of combining marks."""

    any: re.Pattern[str]
    many: re.Pattern[str]
    many_beyond: re.Pattern[str]


@cache
def _marks() -> _Marks:
    """Made when the first text comes that may need them: walking the blocks takes 25 ms, which no start should."""
    bmp, beyond = _split(_mark_ranges())
    return _Marks(re.compile(f"[{bmp}]"), _too_many(bmp), _too_many(bmp + beyond))


def _few_marks(text: str) -> str:
    """`text` with every run of combining marks cut; a search is cheaper than a substitution."""
    if _MAY_BE_MANY_MARKS.search(text) is None:
        return text
    marks = _marks()
    if _MAY_BE_MARK_BEYOND.search(text):
        return marks.many_beyond.sub(r"\1", text)
    return marks.many.sub(r"\1", text) if marks.any.search(text) else text


def sanitise(text: str, limit: int = LIMIT) -> str:
    """`text` with nothing left in it that could drive a terminal, hide, or reorder a line.

    Keeps line feeds. At most `limit` characters come back, the last of them `…` when some were cut.
    Applying it twice changes nothing more.
    """
    if limit < 1:
        return ""
    if len(text) <= limit and text.isascii() and (text.isprintable() or _UNSAFE_ASCII.search(text) is None):
        return text
    window = text[: 4 * limit]  # bounds the work; leaves room for what is dropped
    safe = window.replace("\r\n", "\n") if "\r" in window else window
    safe = _UNSAFE.sub(_replace, safe)
    if not safe.isascii():
        safe = _few_marks(_UNSAFE_BEYOND.sub(_replace, safe))
    if len(safe) > limit or len(window) < len(text):
        safe = safe[: limit - 1] + CUT
    return safe


def one_line(text: str, limit: int = 200) -> str:
    """`text` sanitised onto one line, for log fields, table cells and titles; line ends become `⏎`."""
    safe = sanitise(text, limit)
    if "\n" not in safe:
        return safe
    parts = (part.strip() for part in safe.split("\n"))
    return sanitise(" ⏎ ".join(part for part in parts if part), limit)


def csv_cell(text: str) -> str:
    """`text` sanitised, and quoted with `'` where a spreadsheet would take it for a formula."""
    safe = sanitise(text)
    return f"'{safe}" if _FORMULA.match(safe) else safe


def safe_json(text: str) -> str:
    """JSON `text` with escapes for all that `sanitise` would replace or drop; its value stays the same."""
    return _UNSAFE_BEYOND.sub(_escape, _UNSAFE.sub(_escape, text))


def _escape(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


def clean_for_storage(text: str) -> str:
    """`text` less what PostgreSQL refuses: NUL and lone surrogates. A pair of surrogates is joined."""
    if _UNSTORABLE.search(text) is None:
        return text
    units = text.replace("\x00", "").encode("utf-16-le", "surrogatepass")
    return units.decode("utf-16-le", "ignore")


def clean_json(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A parsed JSON `value` as jsonb can hold it.

    Strings and keys are cleaned, NaN, infinities and absurdly long integers become null, objects of
    other types their text, and what is nested deeper than `depth` levels is cut.
    """
    if isinstance(value, str):
        return clean_for_storage(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= 1024 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        if depth < 1:
            return CUT
        return {clean_for_storage(str(key)): clean_json(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean_json(item, depth - 1) for item in value] if depth > 0 else CUT
    return clean_for_storage(str(value))
