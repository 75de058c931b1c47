"""Accounts that are left alone for a while: told to go slower, stopped by the far end, or out of reach.

    free ──failed──▶ held ──time is up──▶ one message is tried ──▶ free, or held twice as long

While an account is held its messages wait, and none of their tries is used up.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.model import Blocker

FIRST_SECONDS = 1.0
"""The first pause of an account that was not reached; each further one is twice as long."""
LONGEST_UNREACHED_SECONDS = 30.0
STOPPED_SECONDS = 30.0
"""The first pause of an account whose far end says that it may not send."""
LONGEST_STOPPED_SECONDS = 300.0
NO_SUCH_ACCOUNT = "channel.unknown"
"""Code of the blocker of an account that is not configured."""


@dataclass(slots=True)
class Hold:
    """Why an account is left alone, and until when by the loop's clock."""

    until: float
    seconds: float
    """How long the pause is that ends then."""
    blocker: Blocker | None = None
    down: bool = False
    """Nothing can be sent; else the account was only told to go slower."""
    stopped: bool = False
    """The far end says it may not send; else it was not reached."""
    by_receipt: bool = False
    """Learned of messages that it had taken before: its taking another one proves nothing."""
    seen: bool = False
    """The account's health has shown the trouble too, so that it will also show its end."""
    trial: int | None = None
    """The send that tries it again."""


class Holds:
    """The held accounts of one engine, by `channel/account`. Times are the loop's, in seconds."""

    def __init__(self) -> None:
        self._held: dict[str, Hold] = {}

    @property
    def blockers(self) -> list[Blocker]:
        """Where a person must act, or should know why messages wait."""
        return [hold.blocker for hold in self._held.values() if hold.blocker]

    @property
    def unconfigured(self) -> list[str]:
        """Held accounts that do not exist here: only messages that wait for one make it a trouble."""
        return [
            route
            for route, hold in self._held.items()
            if hold.trial is None and hold.blocker is not None and hold.blocker.code == NO_SUCH_ACCOUNT
        ]

    def forget(self, route: str) -> None:
        """Nothing waits for the account any more."""
        self._held.pop(route, None)

    def closed(self, now: float) -> list[str]:
        """The accounts for which nothing is to be claimed."""
        return sorted(
            route for route, hold in self._held.items() if hold.until > now or hold.trial is not None
        )

    def free(self, route: str) -> bool:
        """Whether nothing is held against the account."""
        return route not in self._held

    def wait(self, route: str, send: int, now: float) -> float:
        """Seconds to wait before this send may be tried; 0 makes it the one that tries a held account."""
        hold = self._held.get(route)
        if hold is None:
            return 0.0
        if hold.until > now or hold.trial not in (None, send):
            return max(hold.until - now, FIRST_SECONDS)
        if hold.down:
            hold.trial = send
        else:
            del self._held[route]
        return 0.0

    def over(self, route: str, send: int) -> None:
        """A send has ended, whatever became of it: another one may try the account."""
        hold = self._held.get(route)
        if hold is not None and hold.trial == send:
            hold.trial = None

    def slower(self, route: str, seconds: float, now: float) -> None:
        """The far end asks for less; of several answers the longest wait counts."""
        hold = self._held.get(route)
        if hold is None or (not hold.down and hold.until < now + seconds):
            self._held[route] = Hold(now + seconds, seconds)

    def unreached(self, route: str, blocker: Blocker, now: float) -> float:
        """Nothing could be handed over; the second time in a row it is a blocker. Returns the pause."""
        hold = self._held.get(route)
        if hold is not None and hold.down:
            if hold.until <= now:
                self._lengthen(hold, now)
                hold.blocker = hold.blocker or blocker
            return hold.until - now
        self._held[route] = Hold(now + FIRST_SECONDS, FIRST_SECONDS, down=True)
        return FIRST_SECONDS

    def stop(
        self,
        route: str,
        blocker: Blocker | None,
        now: float,
        *,
        seconds: float | None = None,
        by_receipt: bool = False,
    ) -> float:
        """The account may not send. `seconds`: what the far end asks for. Returns the pause."""
        hold = self._held.get(route)
        if hold is None or not hold.stopped:
            first = seconds or STOPPED_SECONDS
            hold = self._held[route] = Hold(now + first, first, blocker, down=True, stopped=True)
        elif hold.until <= now:
            self._lengthen(hold, now)
        hold.blocker = blocker or hold.blocker
        hold.by_receipt = by_receipt
        return hold.until - now

    def inconclusive(self, route: str, send: int, now: float) -> None:
        """Nobody knows what became of the send that tried the account: the pause goes on."""
        hold = self._held.get(route)
        if hold is not None and hold.trial == send:
            self._lengthen(hold, now)

    def taken(self, route: str, send: int, now: float) -> bool:
        """The far end dealt with a message: the account is free, unless only a receipt can tell.

        Whether it was held.
        """
        hold = self._held.get(route)
        if hold is None or not hold.down:
            return False
        if hold.by_receipt:
            self.inconclusive(route, send, now)
            return False
        del self._held[route]
        return True

    def arrived(self, route: str) -> bool:
        """A receipt says that a message of the account got through. Whether it was held for lack of that."""
        hold = self._held.get(route)
        if hold is None or not hold.by_receipt:
            return False
        del self._held[route]
        return True

    def healthy(self, route: str, well: bool, now: float) -> bool:
        """What the account's health says; whether one message may now try it again.

        A health check does not see everything (unpaid bills, limits): where it saw no trouble it proves no end.
        """
        hold = self._held.get(route)
        if hold is None or not hold.down:
            return False
        if not well:
            hold.seen = True
            return False
        if hold.stopped and not hold.seen:
            return False
        hold.until, hold.blocker = min(hold.until, now), None
        return True

    @staticmethod
    def _lengthen(hold: Hold, now: float) -> None:
        longest = LONGEST_STOPPED_SECONDS if hold.stopped else LONGEST_UNREACHED_SECONDS
        hold.seconds = min(hold.seconds * 2, longest)
        hold.until = now + hold.seconds
