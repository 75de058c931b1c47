"""A search in words: what a pane shows of it can be typed again and asks for the same."""

from __future__ import annotations

import pytest

from engine.observe.inbox import parse_threads
from engine.observe.outbound import parse_sends
from engine.observe.search import MessageSearch, parse_search


@pytest.mark.parametrize(
    "search",
    [
        MessageSearch(reason="policy.opt out", text="refund"),
        MessageSearch(channel='a"b\\', provider="it's"),
        MessageSearch(text="status:error"),
        MessageSearch(text='"two words" it\'s'),
        MessageSearch(text='a"b', tenant_id=7),
        MessageSearch(text='"reason:a b"'),
        MessageSearch(text="it's at http://a.b/?c:d"),
        MessageSearch(cost_usd=0.123456789),
        MessageSearch(cost_usd=1234567.5),
    ],
)
def test_a_search_that_is_shown_can_be_typed_again(search: MessageSearch) -> None:
    assert parse_search(search.words()) == search


def test_ordinary_words_are_shown_as_they_were_typed() -> None:
    for words in ("refund", "it's late", '"two words" refund', "status:sent channel:waha cost>0.01 hello"):
        assert parse_search(words).words() == words


def test_nothing_that_the_database_cannot_hold_is_asked_of_it() -> None:
    assert parse_search("a\x00b\udcff channel:\udcffx").words() == "channel:x ab"
    assert parse_threads("Eva\udcff", "otto").text == "Eva"
    assert parse_sends("class:\udcffrate").error_class == "rate"
