"""Conversations put off: out of the list of those who wait until a time, or until the customer writes.

Nothing has to run for them to come back: a list shows what sleeps no longer, and the intake trigger wakes a
thread with the customer's message.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from engine.database.connection import Pool, fetch
from engine.operator.audit import BadInput, NotFound, Operator, Refused, acting, audit, rows
from engine.operator.takeover import AUTO_RELEASE_MINUTES, lock_thread

LONGEST = timedelta(days=365)
MORNING = (9, 0)
"""Of a day without a time."""
HOW = "1h · 30m · 2d · 18:00 · tomorrow · tomorrow 14:30 · mon · 2026-03-14 09:00"
_CLOCK = re.compile(r"(?:(?P<day>[a-z]+|\d{4}-\d\d-\d\d)(?:[ t]|$))?(?:(?P<hour>\d{1,2}):(?P<minute>\d\d))?")
_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAYS = tuple(name[:3] for name in _NAMES)


class Snoozed(BaseModel):
    """Until when a conversation sleeps; None: it is awake."""

    model_config = ConfigDict(frozen=True)

    thread_id: int
    until: datetime | None
    previous: datetime | None
    auto_release_at: datetime | None
    """The hand-back to the AI, which waits for the person to be back."""


class Here(BaseModel):
    """Where a conversation's workspace is in time."""

    model_config = ConfigDict(frozen=True)

    timezone: str
    now: datetime

    def until(self, words: str) -> datetime:
        """The time that was typed, as `read_until` says."""
        return read_until(words, self.now, ZoneInfo(self.timezone))


async def here(pool: Pool, thread_id: int) -> Here:
    """The time zone of a conversation's workspace, and the database's time. Raises NotFound."""
    async with pool.connection() as connection:
        found = await fetch(connection, "workspace_time", thread_id)
    if not found:
        raise NotFound(f"Thread {thread_id} does not exist.", "Look it up again; it may have another number.")
    try:
        ZoneInfo(found[0]["timezone"])
    except (KeyError, ValueError, OSError):  # a zone this machine does not know
        found[0]["timezone"] = "UTC"
    return Here(**found[0])


def read_until(words: str, now: datetime, zone: ZoneInfo) -> datetime:
    """A time to come as people type it, in the workspace's zone. Raises BadInput, which shows how."""
    text = " ".join(words.lower().split())
    if match := re.fullmatch(r"(\d{1,4}) ?(m|min|h|d|w)", text):
        return _within(now + timedelta(**{_UNITS[match[2]]: int(match[1])}), now)
    local = now.astimezone(zone)
    match = _CLOCK.fullmatch(text)
    if not text or match is None:
        raise _unreadable(words)
    try:
        hour, minute = (int(match["hour"]), int(match["minute"])) if match["hour"] else MORNING
        at = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
        at = _on(at, match["day"], now)
    except (ValueError, OverflowError):
        raise _unreadable(words) from None
    return _within(at.astimezone(now.tzinfo), now)


def _on(at: datetime, day: str | None, now: datetime) -> datetime:
    """That time of day on the day that is meant. Raises ValueError."""
    if day is None:
        return at if at > now else at + timedelta(days=1)
    if day == "today":
        return at
    if day in ("tomorrow", "tom"):
        return at + timedelta(days=1)
    if day in _DAYS or day in _NAMES:
        ahead = (_DAYS.index(day[:3]) - at.weekday()) % 7
        at += timedelta(days=ahead)
        return at if at > now else at + timedelta(days=7)
    date = datetime.fromisoformat(day)
    return at.replace(year=date.year, month=date.month, day=date.day)


def _within(at: datetime, now: datetime) -> datetime:
    if not now < at <= now + LONGEST:
        raise BadInput("That is past, or more than a year away.", f"Write a time to come: {HOW}")
    return at


def _unreadable(words: str) -> BadInput:
    return BadInput(f"“{words.strip()[:40]}” is not a time.", f"Write one like: {HOW}")


async def snooze(
    pool: Pool, operator: Operator, thread_id: int, until: datetime, *, seen: datetime | None = None
) -> Snoozed:
    """Put a conversation off until a time. A hand-back timer runs on from there, never out before.

    `seen` is the customer's last message that the operator knows of: when there is a later one, the
    conversation stays awake. Raises Refused, BadInput, NotFound, ReadOnly.
    """
    async with acting(pool, operator) as connection:
        thread = await lock_thread(connection, thread_id)
        if seen is not None and thread["last_inbound_at"] is not None and thread["last_inbound_at"] > seen:
            raise Refused("The customer has just written again.", "Read it, then snooze.")
        changed = await rows(
            connection,
            """UPDATE et_threads
                  SET snoozed_until = w.until, snoozed_by = %s,
                      auto_release_at = CASE WHEN auto_release_at IS NOT NULL
                          THEN greatest(auto_release_at, w.until + make_interval(secs => %s::float * 60)) END
                 FROM (SELECT %s::timestamptz AS until) w
                WHERE id = %s AND w.until > now() AND w.until <= now() + %s::interval
            RETURNING auto_release_at""",
            operator.name,
            AUTO_RELEASE_MINUTES,
            until,
            thread_id,
            LONGEST,
        )
        if not changed:
            raise BadInput("That is past, or more than a year away.", f"Write a time to come: {HOW}")
        await audit(
            connection,
            operator,
            "snooze",
            f"thread:{thread_id}",
            {key: thread[key] for key in ("snoozed_until", "auto_release_at")},
            {"snoozed_until": until, "auto_release_at": changed[0]["auto_release_at"]},
        )
        return Snoozed(
            thread_id=thread_id,
            until=until,
            previous=thread["snoozed_until"],
            auto_release_at=changed[0]["auto_release_at"],
        )


async def wake(pool: Pool, operator: Operator, thread_id: int) -> Snoozed:
    """Have a conversation back among those who wait; nothing happens to one that is awake.

    Raises NotFound, ReadOnly.
    """
    async with acting(pool, operator) as connection:
        thread = await lock_thread(connection, thread_id)
        asleep = await rows(
            connection,
            """UPDATE et_threads SET snoozed_until = NULL, snoozed_by = NULL
                WHERE id = %s AND snoozed_until > now() RETURNING id""",
            thread_id,
        )
        before = thread["snoozed_until"] if asleep else None
        if asleep:
            await audit(
                connection,
                operator,
                "wake",
                f"thread:{thread_id}",
                {"snoozed_until": before},
                {"snoozed_until": None},
            )
        return Snoozed(
            thread_id=thread_id, until=None, previous=before, auto_release_at=thread["auto_release_at"]
        )
