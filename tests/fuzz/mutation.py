"""Valid values, broken in one to three places: what a far end's next release, or a slip of the hand, sends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
NUMBERS = [0, -1, 1.5, 10**30, 2**63, -(2**63) - 1, 1e300, float("nan"), float("inf")]
TEXTS = ["", "\x00", "\ud83d", "1", "NaN", "1e999", "x" * 30_000, "\u202eevil", "../..", "٣", "<html>", "{"]
ODD: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, True, False, [], {}, [[]], {"a": {}}, [None, 3], *NUMBERS, *TEXTS]),
    st.integers(),
    st.floats(),
    ANY_TEXT,
    st.integers(100, 900).map(lambda depth: nested(depth)),
)
REMOVED = object()


def nested(depth: int) -> Any:
    """A list in a list in a list …"""
    value: Any = "bottom"
    for _ in range(depth):
        value = [value]
    return value


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value within, the whole first."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in inner:
        yield from paths(item, (*path, step))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """`value` with `new` at `path`, or without what was there."""
    if not path:
        return {} if new is REMOVED else new
    copy = value.copy()
    if len(path) == 1 and new is REMOVED:
        del copy[path[0]]
    else:
        copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@st.composite
def mutated(draw: st.DrawFn, valid: st.SearchStrategy[Any]) -> Any:
    """One of the `valid` JSON values, changed: a value replaced or gone, a thing doubled, wrapped or renamed."""
    value = draw(valid)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(paths(value))))
        here = value
        for step in path:
            here = here[step]
        changes = st.one_of(
            ODD, st.just(REMOVED), st.sampled_from([[here], {"": here}, [here] * 50, str(here)])
        )
        value = replaced(value, path, draw(changes))
    return value
