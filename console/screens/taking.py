"""Taking a conversation over; from somebody else only once that is agreed to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from console.screens.confirm import Confirm

if TYPE_CHECKING:
    from console.screens.area import AreaScreen
    from engine.operator.takeover import Takeover


async def take(area: AreaScreen, thread_id: int) -> Takeover | None:
    """Take a thread over. Whoever answers it by now is named first, whatever the screen showed; None: not done.

    Call it in a worker.
    """
    from console.sanitise import cell
    from engine.operator.takeover import Taken, take_over

    feed, operator = area.switchboard.session.feed, area.switchboard.session.operator
    assert feed is not None
    assert operator is not None
    other: Taken | None = None

    async def gently() -> Takeover | None:
        nonlocal other
        try:
            return await take_over(feed.pool, operator, thread_id, from_others=False)
        except Taken as taken:
            other = taken
            return None

    done = await area.do(gently())
    if other is None:
        return done
    question = f"Take it from {cell(other.operator).plain}?"
    detail = "Somebody else answers this conversation, and is not told that you take it."
    if not await area.app.push_screen_wait(Confirm(question, detail, yes="Take it")):
        return None
    return await area.do(take_over(feed.pool, operator, thread_id))


def told(taken: Takeover, back_at: str) -> str:
    """What a takeover did, in words."""
    parts = []
    if taken.previous_operator and taken.already_owner:
        parts.append(f"{taken.previous_operator} had it before")
    if taken.turn_running:
        parts.append("what the AI is writing becomes a draft")
    if taken.sends_in_flight:
        parts.append(f"{taken.sends_in_flight} of the AI already leaving, which cannot be held back")
    if taken.cancelled_sends:
        parts.append(f"{taken.cancelled_sends} unsent of the AI cancelled")
    if taken.parked_messages:
        parts.append(f"{taken.parked_messages} of the customer wait for you")
    if taken.auto_release_at is not None:
        parts.append(f"back to the AI at {back_at} unless you write")
    what = "; ".join(parts) or "nothing of the AI was under way"
    return f"{what[:1].upper()}{what[1:]}."
