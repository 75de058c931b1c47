"""Time as the console shows it: the database's moment, in the operator's time zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Clock:
    """Wall time, put right by the database's; tests pass a `now` that stands still."""

    def __init__(self, now: Callable[[], datetime] = _utc_now, zone: tzinfo | None = None) -> None:
        self._now = now
        self._zone = zone
        self._ahead = timedelta()

    def now(self) -> datetime:
        """This moment by the database's clock, in UTC."""
        return self._now() + self._ahead

    def sync(self, database_now: datetime) -> None:
        """Take over the database's time; differences below a second are the way there, and left alone."""
        ahead = database_now - self._now()
        if abs(ahead - self._ahead) > timedelta(seconds=1):
            self._ahead = ahead

    def age(self, at: datetime | None) -> float | None:
        """Seconds since `at`, never negative."""
        return None if at is None else max(0.0, (self.now() - at).total_seconds())

    def local(self, at: datetime) -> datetime:
        """`at` in the operator's time zone."""
        return at.astimezone(self._zone)

    def minute(self) -> str:
        """The time of day, to the minute: what does not change is not drawn again."""
        return f"{self.local(self.now()):%H:%M}"

    def time(self, at: datetime | None) -> str:
        """Time of day to the second; another day's by its date: both eight cells wide."""
        if at is None:
            return ""
        local, today = self.local(at), self.local(self.now())
        return f"{local:%H:%M:%S}" if local.date() == today.date() else f"{local:%y-%m-%d}"

    def full(self, at: datetime | None) -> str:
        """Date and time to the millisecond."""
        return f"{self.local(at):%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}" if at else ""
