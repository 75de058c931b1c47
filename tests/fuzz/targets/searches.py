"""What people type to find something: understood, or refused in words; shown and typed again it is the same."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime
from typing import Any

from engine.observe.inbox import parse_threads
from engine.observe.journal import Entry, parse_journal
from engine.observe.outbound import GROUPS, parse_sends
from engine.observe.search import MOST_WORDS, SearchError, parse_search
from tests.fuzz.targets.target import Target, storable, texts_in, typed_like, words_of

HIGHEST = 2**63


def usable(search: Any) -> None:
    """What the database is asked with fits its columns."""
    storable(search)
    for name in ("tenant_id", "thread_id"):
        number = getattr(search, name, None)
        assert number is None or 0 <= number < HIGHEST


def messages(data: bytes) -> None:
    try:
        search = parse_search(words_of(data))
    except SearchError as refused:
        assert str(refused)
        return
    usable(search)
    assert len(search.pieces) <= MOST_WORDS
    assert all(search.pieces)
    assert search.cost_usd is None or math.isfinite(search.cost_usd)
    again = parse_search(search.words())
    assert replace(again, status=None) == replace(search, status=None), f"shown as {search.words()!r}"
    assert set(again.status or ()) == set(search.status or ())


def threads(data: bytes) -> None:
    try:
        search = parse_threads(words_of(data), "otto")
    except SearchError as refused:
        assert str(refused)
        return
    usable(search)
    assert all(texts_in(search))


def sends(data: bytes) -> None:
    try:
        search = parse_sends(words_of(data))
    except SearchError as refused:
        assert str(refused)
        return
    usable(search)
    assert search.groups
    assert set(search.groups) <= set(GROUPS)


def journal(data: bytes) -> None:
    try:
        search = parse_journal(words_of(data))
    except SearchError as refused:
        assert str(refused)
        return
    entry = Entry(datetime.now().astimezone(), "log", 1, "info", "who", " ".join(search.words), "about", None)
    assert search.matches(
        replace(entry, source=next(iter(search.sources), "log"), level=next(iter(search.levels), "info"))
    )


MESSAGES = (
    "status:error cost>0.01 thread:12 dir:in",
    'channel:telegram "two words" tenant:1',
    "it's http://a.b/?x=1 text:paid",
    'reason:"policy.opt out" provider:zai model:glm-4.7',
    "status:open status:sent x",
    "channel: cost>x",
    'a"b c',
)
THREADS = ("waiting mine label:vip assigned:otto", "tenant:1 channel:waha Eva", "to:me x:y", "ai snoozed")
SENDS = ("unknown failed channel:telegram", "class:permanent thread:12 tenant:1", "waiting simulator")

TARGETS = [
    Target("search-messages", messages, typed_like(*MESSAGES)),
    Target("search-inbox", threads, typed_like(*THREADS)),
    Target("search-outbound", sends, typed_like(*SENDS)),
    Target("search-journal", journal, typed_like("log error policy", "source:x", "act takeover")),
]
