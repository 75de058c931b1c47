"""Foreign text on its way to the screen: what folding takes out leaves nothing worse behind."""

from __future__ import annotations

from itertools import groupby

import pytest

from console.sanitise import cell, fold, foreign
from engine.text import MAX_MARKS


@pytest.mark.parametrize("between", ["🏽", "🏽\u200d", "\ufe0f🏿\ufe0f"])
def test_marks_do_not_pile_up_where_an_emoji_s_skin_was(between: str) -> None:
    text = "e" + ("\u0301" * MAX_MARKS + between) * 5
    for shown in (foreign(text), cell(text)):
        runs = [len(list(run)) for mark, run in groupby(shown.plain, "\u0301".__eq__) if mark]
        assert runs == [MAX_MARKS]


def test_emoji_are_folded_to_what_every_terminal_holds_equally_wide() -> None:
    assert fold("👍🏽 1\ufe0f\u20e3 🇩🇪 👩\u200d👧") == "👍 1 DE 👩👧"
