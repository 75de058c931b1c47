"""The sanitiser's rules, over every code point there is."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.text import (
    BIDI_MARK,
    CUT,
    LIMIT,
    MAX_DEPTH,
    MAX_MARKS,
    clean_for_storage,
    clean_json,
    csv_cell,
    one_line,
    sanitise,
)

EVERY = [chr(code) for code in range(sys.maxunicode + 1)]
ANY_TEXT = st.text(st.characters(exclude_categories=()))
NASTY = st.text(
    st.sampled_from("\x00\x1b\x9b\r\n\t\u202e\u2066\u200f\u200b\u200d\u0301\u0489\ud83d\ude00\U000e0041aש=+ ")
)
FOREIGN = st.one_of(ANY_TEXT, NASTY)

BIDI = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
DROPPED = {
    *(0x00AD, 0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180E, 0x200B, 0x2028, 0x2029),
    *range(0x2060, 0x2066),
    *range(0x206A, 0x2070),
    *(0x3164, 0xFEFF, 0xFFA0, 0xFFF9, 0xFFFA, 0xFFFB),
    *range(0xE0000, 0xE0080),
}


def expected(char: str) -> str:
    """The table of the rules, said once more and independently."""
    code = ord(char)
    if char == "\t":
        return "    "
    if char == "\n":
        return char
    if code < 32:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if 0x80 <= code <= 0x9F or code >= 0xF0000 or unicodedata.category(char) in {"Cs", "Co"}:
        return "\ufffd"
    if code in BIDI:
        return BIDI_MARK
    return "" if code in DROPPED else char


def is_harmless(text: str) -> bool:
    marks = 0
    for char in text:
        code = ord(char)
        if (code < 32 and char != "\n") or 0x7F <= code <= 0x9F or code in BIDI or code in DROPPED:
            return False
        if unicodedata.category(char) in {"Cs", "Co"}:
            return False
        marks = marks + 1 if unicodedata.category(char)[0] == "M" else 0
        if marks > MAX_MARKS:
            return False
    return True


def test_every_code_point_becomes_what_the_rules_say() -> None:
    assert len(EVERY) == 0x110000
    wrong = [hex(ord(char)) for char in EVERY if sanitise(char) != expected(char)]
    assert wrong == []


def test_every_combining_mark_is_counted() -> None:
    marks = [char for char in EVERY if unicodedata.category(char)[0] == "M" and expected(char)]
    wrong = [hex(ord(mark)) for mark in marks if sanitise("a" + mark * 9) != "a" + mark * MAX_MARKS]
    assert wrong == []


@pytest.mark.parametrize(
    ("foreign", "safe"),
    [
        ("a\r\nb\rc", "a\nb␍c"),
        ("\x1b]0;owned\x07", "␛]0;owned␇"),
        ("\x9b31mred", "\ufffd31mred"),
        ("pay \u202eevil\u202c", f"pay {BIDI_MARK}evil{BIDI_MARK}"),
        ("👩\u200d👧 می\u200cخواهم", "👩\u200d👧 می\u200cخواهم"),
        ("é̂̃̄x", "é̂̃̄x"),
        ("", ""),
        ("plain", "plain"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_examples(foreign: str, safe: str) -> None:
    assert sanitise(foreign) == safe


def test_a_joiner_or_a_dropped_character_does_not_reset_the_count_of_marks() -> None:
    for between in ("\u200d", "\u200c", "\u034f", "\u200b"):
        safe = sanitise("a" + f"\u0301{between}" * 50)
        assert safe.count("\u0301") == MAX_MARKS


@given(FOREIGN, st.integers(min_value=0, max_value=60))
@settings(max_examples=300, deadline=None)
def test_the_result_is_harmless_bounded_and_stable(text: str, limit: int) -> None:
    safe = sanitise(text, limit)
    assert is_harmless(safe)
    assert len(safe) <= limit
    assert sanitise(safe, limit) == safe


@given(FOREIGN, st.integers(min_value=1, max_value=60))
@settings(max_examples=200, deadline=None)
def test_one_line_is_one_line(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert is_harmless(line)
    assert "\n" not in line
    assert len(line) <= limit
    assert one_line(line, limit) == line


def test_a_cut_is_shown_and_clean_text_is_left_alone() -> None:
    assert sanitise("x" * LIMIT) == "x" * LIMIT
    cut = sanitise("x" * (LIMIT + 1))
    assert len(cut) == LIMIT
    assert cut.endswith(CUT)
    assert sanitise("\u200b" * 1_000_000) == CUT
    assert one_line("first\n\n  second ") == "first ⏎ second"


@pytest.mark.parametrize("text", ["=1+1", "+49 30", "-2", "@SUM(A1)", " =cmd|'/c'!A0", "＝1", "\t=1"])
def test_a_spreadsheet_sees_no_formula(text: str) -> None:
    assert csv_cell(text).startswith("'")


def test_an_ordinary_cell_is_not_quoted() -> None:
    assert csv_cell("a = b\x1b") == "a = b␛"


@given(FOREIGN)
@settings(max_examples=300, deadline=None)
def test_what_is_stored_is_encodable_and_otherwise_untouched(text: str) -> None:
    stored = clean_for_storage(text)
    stored.encode()
    assert "\x00" not in stored
    assert clean_for_storage(stored) == stored
    if "\x00" not in text and not any("\ud800" <= char <= "\udfff" for char in text):
        assert stored == text


def test_a_split_pair_is_joined_and_a_lone_half_dropped() -> None:
    assert clean_for_storage("a\ud83d\ude00b\ud83dc\udc00\x00\x1b") == "a😀bc\x1b"


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), FOREIGN),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(FOREIGN, inner, max_size=4)),
    max_leaves=20,
)


@given(JSON)
@settings(max_examples=200, deadline=None)
def test_clean_json_is_accepted_by_jsonb(value: object) -> None:
    written = json.dumps(clean_json(value), allow_nan=False, ensure_ascii=False)
    written.encode()
    assert "\\u0000" not in written.replace("\\\\", "")


def test_clean_json_bounds_depth_and_numbers() -> None:
    deep: object = "bottom"
    for _ in range(500):
        deep = [deep]
    assert json.dumps(clean_json(deep)).count("[") == MAX_DEPTH
    assert clean_json({"n": 10**5000, "inf": float("inf"), "ok": 7, 3: b"x"}) == {
        "n": None,
        "inf": None,
        "ok": 7,
        "3": "b'x'",
    }
