"""Reading webhook requests: is it authentic, is it JSON, and what is in it, whatever shape it has."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import SecretStr

from engine.channels.base import Edit, Inbound, Parsed, Quarantined, Receipt, Stopped, WebhookRefused
from engine.text import clean_for_storage, clean_json

BODY_LIMIT = 20_000
"""Characters of an unreadable body that are kept."""
ID_LIMIT = 400
"""Characters; a longer provider id or address is none."""
Secrets = tuple[SecretStr, ...]
"""The secrets in force: one, or two while one is being replaced."""


def header(headers: Mapping[str, str], name: str) -> str:
    """A header's value whatever its case, or ""."""
    value = headers.get(name) or headers.get(name.lower())
    if value is not None:
        return value
    return next((item for key, item in headers.items() if key.lower() == name.lower()), "")


def signature(raw: bytes, secret: SecretStr, algorithm: Literal["sha256", "sha512"]) -> str:
    """Lower-case hex HMAC of the raw body."""
    return hmac.new(secret.get_secret_value().encode(), raw, getattr(hashlib, algorithm)).hexdigest()


def check_signature(
    raw: bytes, given: str, secrets: Secrets, algorithm: Literal["sha256", "sha512"] = "sha256"
) -> None:
    """Raises WebhookRefused(401) unless `given` is the body's HMAC under one of the secrets."""
    told = given.strip().lower().encode("utf-8", "replace")
    right = [signature(raw, secret, algorithm).encode() for secret in secrets if secret]
    _require([hmac.compare_digest(one, told) for one in right], "signature")


def check_secret(given: str | None, secrets: Secrets) -> None:
    """Raises WebhookRefused(401) unless `given` is one of the secrets."""
    told = (given or "").encode("utf-8", "replace")
    right = [secret.get_secret_value().encode() for secret in secrets if secret]  # an empty one opens nothing
    _require([hmac.compare_digest(one, told) for one in right], "secret")


def _require(matches: list[bool], what: str) -> None:
    if not matches:
        raise WebhookRefused(403, f"this account has no webhook {what} configured")
    if not any(matches):
        raise WebhookRefused(401, f"wrong or missing {what}")


def read_json(raw: bytes) -> Any:
    """The parsed body. Raises ValueError when it is not JSON, or nested beyond reason."""
    try:
        return json.loads(raw)
    except RecursionError:
        raise ValueError("nested too deep") from None


def mapping(value: Any) -> dict[str, Any]:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """`value` if it is an array, else an empty one."""
    return value if isinstance(value, list) else []


def words(value: Any) -> str:
    """`value` if it is text, storable, else ""."""
    return clean_for_storage(value) if isinstance(value, str) else ""


def identifier(value: Any) -> str:
    """An id or address as text: text, or a whole number. "" when it is neither, or too long."""
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= 64:
        return str(value)
    text = words(value).strip()
    return text if len(text) <= ID_LIMIT else ""


def positive(value: Any) -> int | None:
    """A positive number that fits a database column, as such or as its digits; e.g. an id of ours."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 19:
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63:
        return value
    return None


def moment(value: Any) -> datetime | None:
    """A Unix time in seconds or milliseconds, as a number or text; UTC. None when it is no plausible time."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
        if abs(seconds) > 1e11:
            seconds /= 1000
        at = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return at if 2000 <= at.year < 2200 else None


@dataclass(slots=True)
class Collector:
    """Gathers what a body holds; one odd item never costs its neighbours."""

    redact: Callable[[str], str] = str
    inbounds: list[Inbound] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    ignored: int = 0
    session_state: str | None = None
    stops: list[Stopped] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)

    def each(self, things: Iterable[Any], read: Callable[[Any], None]) -> None:
        """Applies `read` to each thing; one that it cannot read is quarantined."""
        for thing in things:
            try:
                read(thing)
            except Unreadable as error:
                self.quarantine(str(error), thing)
            except (
                ArithmeticError,
                LookupError,
                TypeError,
                ValueError,
                AttributeError,
                RecursionError,
            ) as error:
                self.quarantine(f"unreadable: {type(error).__name__}", thing)

    def each_in(self, parent: Mapping[str, Any], name: str, read: Callable[[Any], None]) -> int:
        """`each` of the array under `name`; anything else in its place is quarantined. Returns how many there were."""
        things = parent.get(name)
        if things is None:
            return 0
        if not isinstance(things, list):
            self.quarantine(f"{name} is no array", things)
            return 1
        self.each(things, read)
        return len(things)

    def note_state(self, state: Any) -> None:
        """The account's session state. Raises Unreadable for what is none."""
        self.session_state = words(state) or None
        if self.session_state is None:
            raise Unreadable("a session without a state")

    def quarantine(self, why: str, thing: Any) -> None:
        """Keeps `thing`, cleaned and cut, for a person."""
        if isinstance(thing, bytes):
            body = thing[: 4 * BODY_LIMIT].decode("utf-8", "replace")
        else:
            body = json.dumps(clean_json(thing), ensure_ascii=False)
        self.quarantined.append(Quarantined(why, self.redact(clean_for_storage(body))[:BODY_LIMIT]))

    def parsed(self) -> Parsed:
        return Parsed(
            tuple(self.inbounds),
            tuple(self.receipts),
            tuple(self.quarantined),
            self.ignored,
            self.session_state,
            tuple(self.stops),
            tuple(self.edits),
        )


class Unreadable(Exception):
    """An item that has not the documented shape; the text says what is missing."""
