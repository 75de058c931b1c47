"""What a person decides about sends: one, or all that the filter shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from textual import work

from console.screens.filtered import FilteredScreen
from console.words import count

if TYPE_CHECKING:
    from engine.observe.outbound import SendSearch
    from engine.observe.records import SendRow
    from engine.operator.bulk import Acted

#: Acts on everything the filter shows: the question, the groups it is done to, and the word for Yes.
BULK: dict[str, tuple[str, tuple[str, ...], str]] = {
    "retry": ("Send {} again?", ("failed", "cancelled"), "Send {}"),
    "resend": ("Send {} of unknown outcome again?", ("unknown",), "Send {} again"),
    "cancel": ("Cancel {}?", ("queued", "retry"), "Cancel {}"),
    "mark_sent": ("Mark {} of unknown outcome as sent?", ("unknown",), "Mark {}"),
}
TWICE = "Nobody can tell whether it has arrived. Sent again, the customer may get it twice."


class OutboundActs(FilteredScreen):
    """Outbound as far as a person acts."""

    def __init__(self) -> None:
        super().__init__()
        self._words = ""
        self._search: SendSearch | None = None

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_retry(self) -> None:
        from engine.operator.outbound import retry_send

        row: SendRow = self.subject("send")
        unknown = row.outcome == "unknown"
        if unknown and not await self._agreed(
            f"Send it to {row.who or 'the customer'} again?", TWICE, "Send it again"
        ):
            return
        await self.do(retry_send(self._pool, self._operator, row.id, resend=unknown))

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_cancel(self) -> None:
        from engine.operator.outbound import cancel_send

        row: SendRow = self.subject("send")
        detail = "The customer does not get it. It can be sent later after all."
        if await self._agreed(
            f"Cancel the message to {row.who or 'the customer'}?", detail, "Cancel it", "Leave it"
        ):
            await self.do(cancel_send(self._pool, self._operator, row.id))

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_mark_sent(self) -> None:
        from engine.operator.outbound import mark_sent

        row: SendRow = self.subject("send")
        detail = "You know that it has arrived. It is not sent again, and this cannot be taken back."
        if await self._agreed(
            f"Mark the message to {row.who or 'the customer'} as sent?", detail, "It arrived"
        ):
            await self.do(mark_sent(self._pool, self._operator, row.id))

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_retry_all(self) -> None:
        unknown = self._search is not None and self._search.groups == ("unknown",)
        await self._bulk("resend" if unknown else "retry")

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_cancel_all(self) -> None:
        await self._bulk("cancel")

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_mark_all_sent(self) -> None:
        await self._bulk("mark_sent")

    async def _agreed(self, question: str, detail: str, yes: str, no: str = "No") -> bool:
        from console.screens.confirm import Confirm

        return await self.app.push_screen_wait(Confirm(question, detail, yes=yes, no=no))

    async def _bulk(self, act: Literal["retry", "resend", "cancel", "mark_sent"]) -> None:
        """An act on everything of the filter that allows it, once its count has been agreed to."""
        from console.screens.working import Working
        from engine.observe.outbound import SendSearch, matching_ids
        from engine.operator.outbound import act_on_sends

        question, groups, yes = BULK[act]
        found = await matching_ids(self._pool, self._search or SendSearch())
        ids = [i for group in groups for i in found.get(group, ())]
        if not ids:
            self.say(f"The filter shows nothing to {act.replace('_', ' ')}.", bad=True)
            return
        many = f"{count(len(ids))} message{'' if len(ids) == 1 else 's'}"
        note = f"filter: {self._words or 'none'}"
        detail = [note[:1].upper() + note[1:]]
        if act == "resend":
            detail.append(TWICE)
        if act == "retry" and found.get("unknown"):
            detail.append(
                f"{count(len(found['unknown']))} of unknown outcome are left; filter “unknown” for those."
            )
        if not await self._agreed(
            question.format(many), "\n".join(detail), yes.format(count(len(ids))), "Leave them"
        ):
            return
        acted = await self.app.push_screen_wait(
            Working(
                question.format(many).removesuffix("?"),
                lambda progress: act_on_sends(
                    self._pool, self._operator, act, ids, progress=progress, note=note
                ),
            )
        )
        if self.switchboard.session.feed is not None:
            self.switchboard.session.feed.wake()
        if acted is not None:
            self._tell_acted(acted)

    def _tell_acted(self, acted: Acted) -> None:
        skipped = "; ".join(f"{count(number)} left: {reason}" for reason, number in acted.reasons.items())
        stopped = f"Stopped: {count(acted.not_reached)} left as they are" if acted.not_reached else ""
        told = ". ".join(part for part in (f"{count(acted.count)} done", skipped, stopped) if part)
        self.say(told, bad=not acted.count)

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_thread(self) -> None:
        from console.jumping import open_thread

        row: SendRow = self.subject("send")
        if row.thread_id is not None:
            await open_thread(self.switchboard, row.thread_id)

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_trip(self) -> None:
        from console.jumping import open_message

        await open_message(self.switchboard, self.subject("send").message_id)
