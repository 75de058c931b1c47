"""WhatsApp addresses as the gateways write them: `4915112345678@s.whatsapp.net`, `…@c.us`, `…@lid`, `…@g.us`.

One customer may show up under a phone number and under a LID, a number of WhatsApp's own. Both gateways'
phone addresses are stored as `4915112345678@c.us`, so that they compare.
"""

from __future__ import annotations

from collections.abc import Iterable

from engine.channels.webhook import identifier

PHONE = "c.us"
LID = "lid"
_PHONE_DOMAINS = frozenset({"c.us", "s.whatsapp.net"})


def canonical(value: object) -> str:
    """One spelling of a person's address; "" for groups, broadcasts, channels and nonsense.

    Takes a bare phone number too, with or without `+`.
    """
    user, _, domain = identifier(value).partition("@")
    user = user.partition(":")[0]  # the device within the account
    digits = user.removeprefix("+")
    if not (digits.isascii() and digits.isdecimal()) or digits == "0":
        return ""
    if not domain or domain in _PHONE_DOMAINS:
        return f"{digits}@{PHONE}"
    return f"{digits}@{LID}" if domain == LID else ""


def is_crowd(value: object) -> bool:
    """Whether that is a group, a broadcast list, the status page or a channel: known, and not for us."""
    domain = identifier(value).rpartition("@")[2]
    return domain in {"g.us", "broadcast", "newsletter"}


def is_lid(address: str) -> bool:
    return address.endswith(f"@{LID}")


def person(candidates: Iterable[object]) -> tuple[str, tuple[str, ...]]:
    """The address to use for somebody, a phone number if any is known, and the others as aliases."""
    known = list(dict.fromkeys(filter(None, map(canonical, candidates))))
    known.sort(key=is_lid)
    return (known[0], tuple(known[1:])) if known else ("", ())
