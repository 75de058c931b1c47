"""Foreign text at the sinks: nothing that drives a terminal, hides or reorders comes out; again changes nothing."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from itertools import groupby

from console.sanitise import cell, foreign
from engine.text import (
    CUT,
    LIMIT,
    MAX_MARKS,
    clean_for_storage,
    clean_json,
    csv_cell,
    one_line,
    safe_json,
    sanitise,
)
from tests.channels.cases import recorded
from tests.fuzz.targets.target import Target, storable, words_of

INVISIBLE = {"Cc", "Cs", "Co", "Zl", "Zp"}
JOINERS = "\u200c\u200d"
FORMULAS = "=+-@＝＋－＠"


def harmless(text: str, *, lines: bool = True) -> None:
    """Nothing in it drives a terminal, and no pile of marks grows out of its line."""
    for char in text:
        if char == "\n" and lines:
            continue
        category = unicodedata.category(char)
        assert category not in INVISIBLE, f"U+{ord(char):04X}"
        assert category != "Cf" or char in JOINERS or _visible_format(char), f"U+{ord(char):04X}"
    bare = text.translate({ord(joiner): None for joiner in JOINERS})
    for marks, run in groupby(bare, lambda char: unicodedata.category(char)[0] == "M"):
        assert not marks or len(list(run)) <= MAX_MARKS, "a pile of marks"


def _visible_format(char: str) -> bool:
    """Format characters of scripts: Arabic number signs, shorthand, musical beams, hieroglyph joiners."""
    return ord(char) in {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD} or (
        0x13430 <= ord(char) <= 0x1343F or 0x1BCA0 <= ord(char) <= 0x1BCA3 or 0x1D173 <= ord(char) <= 0x1D17A
    )


def check_sanitise(data: bytes) -> None:
    limit = data[0] if data else 0
    text = words_of(data[1:])
    for most in (LIMIT, limit):
        safe = sanitise(text, most)
        harmless(safe)
        assert len(safe) <= most
        assert sanitise(safe, most) == safe
        line = one_line(text, most)
        harmless(line, lines=False)
        assert len(line) <= most
        assert one_line(line, most) == line


def check_screen(data: bytes) -> None:
    text = words_of(data)
    shown = foreign(text).plain
    harmless(shown)
    assert foreign(shown).plain == shown
    one = cell(text, limit=60).plain
    harmless(one, lines=False)
    assert cell(one, limit=60).plain == one
    assert foreign(text).spans == [], "foreign text has no markup"


def check_export(data: bytes) -> None:
    text = words_of(data)
    told = csv_cell(text)
    harmless(told)
    assert not told.lstrip().startswith(tuple(FORMULAS))
    out = io.StringIO()
    csv.writer(out).writerow([told, "next"])
    assert next(csv.reader(io.StringIO(out.getvalue(), newline=""))) == [told, "next"]


def check_storage(data: bytes) -> None:
    text = words_of(data)
    kept = clean_for_storage(text)
    storable(kept)
    assert clean_for_storage(kept) == kept
    assert [char for char in kept if char < "\ud800"] == [char for char in text if "\x00" < char < "\ud800"]
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return
    clean = clean_json(value)
    storable(clean)
    written = json.dumps(clean, allow_nan=False, ensure_ascii=False)
    assert json.loads(written) == clean
    assert clean_json(clean) == clean
    assert json.loads(safe_json(written)) == clean
    for line in safe_json(written).splitlines():
        assert sanitise(line, 10**7) == line or CUT in sanitise(line, 10**7) or _piled(line)


def _piled(line: str) -> bool:
    """Only marks may be left that `sanitise` would thin out."""
    return all(unicodedata.category(char)[0] == "M" or char in sanitise(line, 10**7) for char in line)


def texts() -> list[bytes]:
    samples = [
        "Grüße 👩‍👧 1️⃣ 🇩🇪 👍🏽",
        "a\x1b]0;x\x07\r\nb\t\x9b31m",
        "\u202eevil\u2066",
        "e" + "\u0301" * 9,
        "=1+1\x00\ud83d",
        "+1",
        " @x",
        "-2",
    ]
    samples += [
        "क्षि ไทย\u0e48\u0e49",
        "\U000e0041\ufeff\u200b",
        "a\u200d\u0301\u200d\u0302",
        "[b]x[/b] [@click=app.quit]",
        "x" * 300,
    ]
    samples += [
        "👍" + "\u0301" * 4 + "🏽" + "\u0301" * 4,
        "1\ufe0f\u20e3",
        "\U00010a01\U00010a02" * 4,
        "\u0600\u06dd",
    ]
    return [sample.encode("utf-8", "surrogatepass") for sample in samples]


TARGETS = [
    Target("text-sanitise", check_sanitise, lambda: [b"\x10" + text for text in texts()], head=1),
    Target("text-screen", check_screen, texts),
    Target("text-export", check_export, texts),
    Target("text-storage", check_storage, lambda: [*texts(), *(body.raw for body in recorded()[::5])]),
]
