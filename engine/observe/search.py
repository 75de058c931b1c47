"""What a person looks for among messages: a few words, and conditions like `status:error cost>0.01`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from engine.figures import exact
from engine.text import clean_for_storage

STATUS_WORDS: dict[str, tuple[str, ...]] = {
    "waiting": ("received",),
    "thinking": ("inbound_processing",),
    "answered": ("inbound_ai_replied",),
    "person": ("inbound_human_takeover",),
    "error": ("inbound_error",),
    "open": ("received", "inbound_processing"),
    "sending": ("processing",),
    "retry": ("retry_scheduled",),
}
"""Short words beside the statuses' own names."""
INBOUND = frozenset(
    {"received", "inbound_processing", "inbound_ai_replied", "inbound_human_takeover", "inbound_error"}
)
OUTBOUND = frozenset({"queued", "processing", "sent", "accepted", "retry_scheduled", "failed"})
_DIRECTIONS = {"in": "inbound", "inbound": "inbound", "out": "outbound", "outbound": "outbound"}


class SearchError(ValueError):
    """A condition that cannot be understood; says which are known."""


@dataclass(frozen=True, slots=True)
class MessageSearch:
    """Conditions that must all hold; None is any."""

    status: tuple[str, ...] | None = None
    direction: str | None = None
    channel: str | None = None
    tenant_id: int | None = None
    thread_id: int | None = None
    provider: str | None = None
    model: str | None = None
    cost_usd: float | None = None
    """At least this many USD."""
    reason: str | None = None
    """How the reason begins."""
    text: str | None = None
    """Words that all stand in the text, in any case; several in double quotes are one piece."""
    how: Literal["similar", "scan"] | None = None
    """Other than through an index: words like these will do; or they may stand within words."""

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) is not None for field in fields(self))

    @property
    def pieces(self) -> list[str]:
        """What must stand in the text, each on its own."""
        return [quoted or bare for quoted, bare in _PIECE.findall(self.text or "")][:MOST_WORDS]

    def words(self) -> str:
        """The search as it could have been typed: read again, it is the same."""
        parts = [f"status:{status}" for status in self.status or ()]
        for name, key in _KEYS.items():
            value = getattr(self, key)
            if value is not None:
                parts.append(f"{name}:{_quoted(str(value))}")
        if self.cost_usd is not None:
            parts.append(f"cost>{exact(self.cost_usd)}")
        if not self.text:
            return " ".join(parts)
        plain = " ".join([*parts, self.text])
        if _reads_as(plain) == replace(self, how=None):
            return plain
        return " ".join([*parts, *map(_as_text, self.text.split(" "))])


def _reads_as(words: str) -> MessageSearch | None:
    try:
        return parse_search(words)
    except SearchError:
        return None


def _as_text(word: str) -> str:
    """A word as one that is looked for, whatever it looks like; an address is no condition anyway."""
    return _quoted(word) if "//" in word else f"text:{_quoted(word)}"


def _quoted(value: str) -> str:
    """A value as a search takes it, in quotation marks where it needs them."""
    if re.fullmatch(r"""[^\s"'\\]+""", value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_PIECE = re.compile(r'"([^"]+)"|([^\s"]+)')
MOST_WORDS = 12
_KEYS = {
    "dir": "direction",
    "channel": "channel",
    "tenant": "tenant_id",
    "thread": "thread_id",
    "provider": "provider",
    "model": "model",
    "reason": "reason",
}
_CONDITION = re.compile(r"(?P<name>[a-z_]+)(?P<sign>[:=>])(?P<value>.*)", re.IGNORECASE)
KNOWN = "status: dir: channel: tenant: thread: provider: model: reason: text: cost>"


def parse_search(words: str) -> MessageSearch:
    """A search as typed. Raises SearchError, whose text says what is wrong and what is known."""
    words = clean_for_storage(words)
    try:
        parts = shlex.split(words, posix=True)
    except ValueError:  # an apostrophe, or a quotation that is not closed yet
        parts = words.split()
    search = MessageSearch()
    text = []
    for part in parts:
        match = _CONDITION.fullmatch(part)
        name = match["name"].lower() if match else ""
        if match is None or "//" in part:
            text.append(_as_typed(part))
        elif name == "text":
            text.append(_as_typed(_value(name, match["value"])))
        elif name == "status":
            search = replace(search, status=(*(search.status or ()), *_statuses(match["value"])))
        elif name == "cost":
            search = replace(search, cost_usd=_number(match["value"], float, "cost>0.01"))
        elif name in _KEYS:
            search = replace(search, **{_KEYS[name]: _value(name, match["value"])})
        else:
            raise SearchError(f"“{name}{match['sign']}” is not known; known are {KNOWN}")
    return replace(search, text=" ".join(filter(None, text)) or None)


def _as_typed(part: str) -> str:
    """A piece of several words keeps its quotation marks."""
    piece = " ".join(part.split())
    return f'"{piece}"' if " " in piece else piece


def _statuses(value: str) -> tuple[str, ...]:
    value = value.lower()
    if value in STATUS_WORDS:
        return STATUS_WORDS[value]
    if value in INBOUND | OUTBOUND:
        return (value,)
    raise SearchError(f"No status “{value}”; there are {', '.join([*STATUS_WORDS, *sorted(OUTBOUND)])}")


def _value(name: str, value: str) -> Any:
    if not value:
        raise SearchError(f"{name}: needs a value")
    if name in ("tenant", "thread"):
        return _number(value, int, f"{name}:12")
    if name == "dir":
        if value.lower() not in _DIRECTIONS:
            raise SearchError("dir: is in or out")
        return _DIRECTIONS[value.lower()]
    return value


def _number(value: str, kind: Callable[[str], Any], example: str) -> Any:
    try:
        number = kind(value)
    except ValueError:
        raise SearchError(f"“{value}” is not a number; write {example}") from None
    if not 0 <= number < 2**63:
        raise SearchError(f"“{value}” is out of range; write {example}")
    return number
