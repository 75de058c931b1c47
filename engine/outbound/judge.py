"""What became of a send: for the message, and for the account it went through."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from engine.channels.base import SendError, SendFailure, Sent
from engine.channels.registry import ChannelUnknown
from engine.logs import get_logger
from engine.model import Blocker, OutboundStatus, Outcome
from engine.outbound.holds import NO_SUCH_ACCOUNT, Holds
from engine.outbound.queue import SendResult
from engine.outbound.retry import RetryPolicy
from engine.sends import Send
from engine.settings import Settings

log = get_logger(__name__)


class Judge:
    """Judges what channels say of sends, and holds accounts that cannot send; `resumed` is told when one can."""

    def __init__(
        self, holds: Holds, settings: Settings, *, resumed: Callable[[], None], rng: random.Random | None
    ) -> None:
        self._holds = holds
        self._resumed = resumed
        self._rng = rng or random.Random()
        self._max_attempts = settings.send_max_attempts
        self._retry = RetryPolicy(
            settings.retry_base_seconds, settings.retry_cap_seconds, settings.send_max_attempts
        )

    def sent(self, send: Send, sent: Sent) -> SendResult:
        """The far end took it."""
        self._works(send)
        return SendResult(
            send.queue_id,
            send.token,
            OutboundStatus.ACCEPTED if sent.accepted else OutboundStatus.SENT,
            Outcome.CONFIRMED,
            provider_message_id=sent.provider_message_id,
            other_ids=sent.other_ids,
        )

    def failed(self, send: Send, error: SendError) -> SendResult:
        """The channel says that it did not work."""
        if error.outage:
            return self._unreached(send, error)
        match error.kind:
            case SendFailure.CHANNEL_DOWN:
                return self._down(send, error)
            case SendFailure.UNKNOWN:
                if error.blocker:
                    self._stop(send, error)
                return self.inconclusive(send, error.message, error.sent_ids)
        self._works(send)
        match error.kind:
            case SendFailure.PERMANENT:
                return rejected(send, error.code or error.kind, error.message, hand_over=error.needs_human)
            case SendFailure.RATE if error.scope == "account":
                self._holds.slower(send.route, error.retry_after or 1.0, time.monotonic())
        slower = error.kind is SendFailure.RATE
        if not slower and self._retry.exhausted(send.attempts):
            return rejected(send, error.kind, error.message)
        seconds = self._retry.delay(send.attempts, self._rng, error.retry_after)
        return _again(send, error, seconds, self._forgiven(send) if slower else None)

    def inconclusive(self, send: Send, error: str, sent_ids: tuple[str, ...] = ()) -> SendResult:
        """It may have left: nobody can tell, so nobody sends it again unasked."""
        self._holds.inconclusive(send.route, send.queue_id, time.monotonic())
        return SendResult(
            send.queue_id,
            send.token,
            OutboundStatus.FAILED,
            Outcome.UNKNOWN,
            error_class=SendFailure.UNKNOWN,
            error=error,
            other_ids=sent_ids,
        )

    def no_channel(self, send: Send, error: ChannelUnknown) -> SendResult:
        """This engine has no such channel."""
        blocker = Blocker(code=NO_SUCH_ACCOUNT, what=error.what, where=send.route, remedy=error.remedy)
        return self._down(send, SendError(SendFailure.CHANNEL_DOWN, error.what, blocker=blocker))

    def _forgiven(self, send: Send) -> int:
        """Tries that count after one that was the account's trouble, or too early: never all there are."""
        return min(send.attempts, self._max_attempts - 1)

    def _works(self, send: Send) -> None:
        """The far end dealt with a message, if only by refusing it."""
        if self._holds.taken(send.route, send.queue_id, time.monotonic()):
            log.info("channel.resumed", channel=send.route)
            self._resumed()

    def _unreached(self, send: Send, error: SendError) -> SendResult:
        """Nothing was handed over: the account is tried again by and by, and this was no try of the message."""
        blocker = Blocker(
            code="channel.unreachable",
            what=f"{send.route} cannot be sent through: {error.message}",
            where=send.route,
            remedy="Nothing is lost: messages wait and leave by themselves once it answers. Check that this machine"
            " reaches it, and that it runs.",
        )
        seconds = self._holds.unreached(send.route, blocker, time.monotonic())
        log.warning("channel.paused", channel=send.route, seconds=round(seconds, 1), why=error.message)
        return _again(send, error, max(seconds, 0.0), send.attempts - 1)

    def _down(self, send: Send, error: SendError) -> SendResult:
        """The account cannot send: leave it alone, and keep the message for when it can."""
        self._stop(send, error)
        return _again(send, error, 1.0, self._forgiven(send))

    def _stop(self, send: Send, error: SendError) -> None:
        seconds = self._holds.stop(send.route, error.blocker, time.monotonic(), seconds=error.retry_after)
        why = error.blocker.what if error.blocker else error.message
        log.warning("channel.paused", channel=send.route, seconds=round(seconds, 1), why=why)


def rejected(send: Send, error_class: str, error: str, *, hand_over: bool = False) -> SendResult:
    """It will never be taken. `hand_over`: a person can still reach the customer."""
    return SendResult(
        send.queue_id,
        send.token,
        OutboundStatus.FAILED,
        Outcome.REJECTED,
        error_class=error_class,
        error=error,
        hand_over=hand_over,
    )


def too_late(send: Send) -> SendResult:
    """This engine was held up between claim and call; it did not call."""
    log.warning("send.too_late", queue_id=send.queue_id)
    return SendResult(
        send.queue_id,
        send.token,
        OutboundStatus.RETRY_SCHEDULED,
        error_class="too_late",
        error="the engine was held up between claim and call; nothing was sent",
    )


def _again(send: Send, error: SendError, seconds: float, attempts: int | None) -> SendResult:
    return SendResult(
        send.queue_id,
        send.token,
        OutboundStatus.RETRY_SCHEDULED,
        error_class=error.kind,
        error=error.message,
        retry_seconds=seconds,
        attempts=attempts,
    )
