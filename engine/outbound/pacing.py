"""When a message may leave: rates of the account and of the recipient, and the workspace's quiet hours.

Rates are kept by each engine for itself; several engines that send through one account share what the far end
allows, and its own answer ("slower") is honoured besides.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engine.channels.base import Capabilities

FORGET_AT = 10_000


class Pacer:
    """Hands out times to send at, never two too close to each other."""

    def __init__(self) -> None:
        self._account_free: dict[str, float] = {}
        self._recipient_free: dict[tuple[str, str], float] = {}

    def reserve(self, now: float, route: str, to: str, allowed: Capabilities, most: float) -> float:
        """Seconds to wait before sending, which are then reserved; or, when that is more than `most`, the
        seconds after which to ask again, with nothing reserved. `now` is any steady clock."""
        account = self._account_free.get(route, now)
        recipient = self._recipient_free.get((route, to), now)
        at = max(now, account, recipient)
        if at - now > most:
            return at - now
        if allowed.per_second:
            self._account_free[route] = at + 1.0 / allowed.per_second
        if allowed.recipient_gap_seconds:
            if len(self._recipient_free) > FORGET_AT:
                self._recipient_free = {k: v for k, v in self._recipient_free.items() if v > now}
            self._recipient_free[route, to] = at + allowed.recipient_gap_seconds
        return at - now


def quiet_until(
    now: datetime, timezone: str, quiet_from: str | None, quiet_to: str | None
) -> datetime | None:
    """When the quiet hours end in which `now` (UTC) falls; None when it falls in none.

    Hours are local, HH:MM, and may pass midnight. Unreadable ones or an unknown timezone mean no quiet hours.
    """
    if not quiet_from or not quiet_to:
        return None
    try:
        zone = ZoneInfo(timezone)
        start, end = time.fromisoformat(quiet_from), time.fromisoformat(quiet_to)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return None
    if start.tzinfo or end.tzinfo:
        return None
    local = now.astimezone(zone)
    clock = local.time().replace(tzinfo=None)
    overnight = start > end
    within = clock >= start or clock < end if overnight else start <= clock < end
    if not within:
        return None
    day = local.date() + timedelta(days=1 if overnight and clock >= start else 0)
    return datetime.combine(day, end, tzinfo=zone).astimezone(UTC)
