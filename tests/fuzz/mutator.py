"""Inputs made from inputs: JSON changed as JSON, so that it stays readable, and anything else byte by byte."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from tests.fuzz.mutation import NUMBERS, REMOVED, TEXTS, nested, paths, replaced
from tests.support.far_ends import evolution, telegram, waha, whatsapp_cloud

Bytes = Callable[[bytes], bytes]
"""Changes bytes somehow."""
KEYS = [
    evolution.API_KEY,
    telegram.TOKEN,
    waha.API_KEY,
    whatsapp_cloud.TOKEN,
    "key-of-the-provider-1234567890",
]
"""What must not come out again; the last is what providers are asked with."""
VALUES: list[Any] = [
    None,
    True,
    False,
    [],
    {},
    [[]],
    {"a": {}},
    [None, 3],
    nested(60),
    *KEYS,
    *NUMBERS,
    *TEXTS,
]
MOST_PATHS = 400


def mutate(data: bytes, head: int, rng: random.Random, change: Bytes) -> bytes:
    """`data` changed in its first `head` bytes, or in what follows; most often as JSON, where it is JSON."""
    front, body = data[:head], data[head:]
    if head and rng.random() < 0.15:
        return rng.randbytes(head) + body
    try:
        value = json.loads(body) if rng.random() < 0.8 else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict | list):
        return front + change(body)
    try:
        return front + json.dumps(changed(value, rng, change)).encode()
    except (RecursionError, ValueError):
        return front + change(body)


def changed(value: Any, rng: random.Random, change: Bytes) -> Any:
    """`value` with one thing in it replaced, gone, doubled, wrapped, renamed, or taken from elsewhere in it."""
    ways = [path for path, _ in zip(paths(value), range(MOST_PATHS), strict=False)]
    path = rng.choice(ways)
    here = _at(value, path)
    match rng.randrange(8):
        case 0:
            new: Any = rng.choice(VALUES)
        case 1:
            new = REMOVED
        case 2:
            new = rng.choice([[here], {"": here}, [here, here], str(here)])
        case 3:
            new = _at(value, rng.choice(ways))
        case 4 if isinstance(here, dict) and here:
            name = rng.choice(list(here))
            other = rng.choice([*here, rng.choice(KEYS), "", name.upper(), _changed_text(name, change)])
            new = {other if key == name else key: item for key, item in here.items()}
        case 5 if isinstance(here, int | float):
            new = here * rng.choice([-1, 10, 1000, 10**9, 0.5]) + rng.choice([0, 1, -1])
        case _ if isinstance(here, str):
            new = _changed_text(here, change)
        case _:
            new = rng.choice(VALUES)
    return replaced(value, path, new)


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _changed_text(text: str, change: Bytes) -> str:
    return change(text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")


def change_bytes(rng: random.Random) -> Bytes:
    """Changes of bytes at random, where no fuzzer guides them."""

    def change(data: bytes) -> bytes:
        at = rng.randrange(len(data) + 1)
        match rng.randrange(5):
            case 0:
                return data[:at] + rng.randbytes(rng.randrange(1, 5)) + data[at:]
            case 1:
                return data[:at] + data[at + rng.randrange(1, 9) :]
            case 2:
                return data[:at] + rng.choice(PIECES) + data[at:]
            case 3:
                return data[:at] + data[at // 2 :]
            case _:
                return data[:at] + rng.randbytes(1) + data[at + 1 :]

    return change


PIECES = [text.encode("utf-8", "surrogatepass") for text in TEXTS if len(text) < 100]
PIECES += [
    b"\x1b[31m",
    b"\x9b",
    b"\r\n",
    b"\xe2\x80\xae",
    b"\xcc\x81" * 5,
    b"[/b]",
    b'"',
    b"'",
    b":",
    b"999999999999999999999",
]
