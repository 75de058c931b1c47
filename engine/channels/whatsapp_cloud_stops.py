"""Error codes of Meta's that stop a whole account, whether a send's answer or a status webhook brings them."""

from __future__ import annotations

from typing import Any, NamedTuple

RENEW = "Make a new system user token in Meta's Business Manager, set WHATSAPP_TOKEN and restart."
QUALITY = "Open WhatsApp Manager, read the account's quality and policy notices, and resolve them there."


class Stop(NamedTuple):
    """An error code that stops the whole account."""

    code: str
    what: str
    remedy: str


STOPS: dict[int, Stop] = {
    0: Stop("auth", "Meta does not accept the access token.", RENEW),
    190: Stop("auth", "The access token has expired or was revoked.", RENEW),
    10: Stop(
        "permission",
        "The access token may not send for this number.",
        "Give the system user the permission whatsapp_business_messaging for this number.",
    ),
    368: Stop("banned", "Meta has blocked the account for a policy violation.", QUALITY),
    131031: Stop("banned", "Meta has locked the account.", QUALITY),
    131048: Stop("spam", "Meta limits this number because customers reported or blocked it.", QUALITY),
    131042: Stop(
        "payment",
        "Meta cannot charge the account.",
        "Put the payment method of the WhatsApp Business account in order in Meta's Business Manager.",
    ),
    133010: Stop(
        "not_registered",
        "The phone number is not registered with the Cloud API.",
        "Register the number in WhatsApp Manager.",
    ),
}
EXPIRED = STOPS[190]


def stop_of(code: Any) -> Stop | None:
    """What stops the account, if that error code does."""
    if not isinstance(code, int) or isinstance(code, bool):
        return None
    return STOPS[10] if 200 <= code <= 299 else STOPS.get(code)
