"""Foreign text → Content. Whatever a customer, a model or a far end wrote reaches the screen through here.

`Content` made of plain text is never parsed as markup. The sanitiser leaves nothing in it that drives a
terminal; folding leaves nothing of which terminals disagree how wide it is.
"""

from __future__ import annotations

import re

from textual.content import Content

from engine.observe import one_line, sanitise

_KEYCAP = re.compile("([0-9#*])\ufe0f?\u20e3")
_DROPPED = re.compile("[\ufe00-\ufe0f\u20e3]")  # variation selectors, the frame of a keycap
_SKIN_TONES = re.compile("[\U0001f3fb-\U0001f3ff]")
_JOINED = re.compile(
    "(?<=[\u2190-\u2bff\U0001f000-\U0001faff])\u200d(?=[\u2190-\u2bff\U0001f000-\U0001faff])"
)
_REGIONAL = re.compile("[\U0001f1e6-\U0001f1ff]")


def fold(text: str) -> str:
    """`text` with emoji reduced to what tmux and Textual hold to be equally wide.

    Keycaps become their digit, flags their two letters; variation selectors, skin tones and the joiners
    between emoji are dropped.
    """
    if text.isascii():
        return text
    text = _KEYCAP.sub(r"\1", text)
    text = _DROPPED.sub("", text)
    if _SKIN_TONES.search(text):
        text = sanitise(
            _SKIN_TONES.sub("", text), len(text)
        )  # the marks on both sides of one are a single run now
    text = _JOINED.sub("", text)
    return _REGIONAL.sub(lambda match: chr(ord(match[0]) - 0x1F1E6 + ord("A")), text)


def foreign(text: str | None, style: str = "") -> Content:
    """Foreign text over as many lines as it has."""
    return Content.styled(fold(sanitise(text or "")), style)


def cell(text: str | None, style: str = "", limit: int = 200) -> Content:
    """Foreign text on one line, for a table cell or a title."""
    return Content.styled(fold(one_line(text or "", limit)), style)
