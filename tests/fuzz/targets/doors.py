"""Who is let in: of all headers and path segments only those made with a live secret, over these very bytes."""

from __future__ import annotations

import hashlib
import hmac
from functools import partial

from engine.channels.base import Channel, WebhookRefused
from tests.channels.cases import CASES, PREVIOUS, RETIRED, SECRET, Case, recorded
from tests.fuzz.targets.target import Target, words_of

LIVE = (SECRET, PREVIOUS)
SIGNED = {
    "simulator": (hashlib.sha256, ""),
    "whatsapp_cloud": (hashlib.sha256, "sha256="),
    "waha": (hashlib.sha512, ""),
}
"""How each far end signs; the others show the secret itself."""


def header_name(case: Case) -> str:
    return next(iter(case.sign(b"", SECRET)))


def right(case: Case, raw: bytes) -> set[str]:
    """What opens the door to this body, in lower case where its case says nothing."""
    if case.name not in SIGNED:
        return set(LIVE)
    algorithm, prefix = SIGNED[case.name]
    return {prefix + hmac.new(secret.encode(), raw, algorithm).hexdigest() for secret in LIVE}


def check(case: Case, channel: Channel, data: bytes) -> None:
    """`data`: how the header is named, then the header, a line end, the body."""
    given, _, raw = data[1:].partition(b"\n")
    told = words_of(given)
    name = header_name(case)
    name = (name, name.lower(), name.upper(), "Authorization")[data[0] % 4] if data else name
    try:
        channel.parse_webhook("default", {name: told}, raw)
    except WebhookRefused as refused:
        assert refused.status == 401
        assert not any(secret in refused.reason for secret in case.secrets)
    else:
        assert let_in(case, name, told, raw), f"{name}: {told!r} opened the door"


def let_in(case: Case, name: str, told: str, raw: bytes) -> bool:
    if case.name in SIGNED:
        return name != "Authorization" and told.strip().lower() in right(case, raw)
    if name == "Authorization":
        return case.name == "evolution" and told[:7].lower() == "bearer " and told[7:] in LIVE
    return told in LIVE


def seeds(case: Case) -> list[bytes]:
    raw = next(body.raw for body in recorded() if body.channel == case.name)[:300]
    found = []
    for secret in (SECRET, PREVIOUS, RETIRED, ""):
        (header,) = case.sign(raw, secret).values()
        found += [bytes([way]) + header.encode() + b"\n" + raw for way in (0, 1, 2)]
        found += [b"\x03Bearer " + header.encode() + b"\n" + raw]
    return [*found, b"", b"\x00\n", b"\x00sha256=\n"]


TARGETS = [
    Target(f"door-{case.name}", partial(check, case, case.build("http://127.0.0.1:9")), partial(seeds, case))
    for case in CASES
]
