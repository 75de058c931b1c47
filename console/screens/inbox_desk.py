"""What an operator among others does to keep the inbox in order: snooze, labels, assignment, the next one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from textual import work

from console.screens.ask import Ask
from console.screens.inbox_acts import InboxActs
from console.screens.inbox_rows import ThreadList, point

if TYPE_CHECKING:
    from engine.observe.threads import ThreadRow
    from engine.operator.snooze import Here


class InboxDesk(InboxActs):
    """The inbox as far as conversations are sorted."""

    # Snooze

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_snooze(self) -> None:
        from engine.operator.snooze import HOW, here, snooze

        row = self.thread
        assert row is not None
        there = await self.do(here(self._pool, row.id))
        if there is None:
            return
        check = partial(self._told_until, row, there)
        title = f"Snooze {_who(row)}"
        how = f"{HOW} ({there.timezone})"
        typed = await self.app.push_screen_wait(Ask(title, how, "1h", check))
        if typed is None:
            return
        following = self._following(row.id)
        there = await self.do(here(self._pool, row.id)) or there
        done = await self.do(
            snooze(self._pool, self._operator, row.id, there.until(typed), seen=row.last_inbound_at)
        )
        if done is not None:
            back = point(self.switchboard.clock, done.until)
            self.say(f"Back at {back}, or when the customer writes.", title="Snoozed")
            if following is not None and self.chosen == row.id:
                self.go_to(following)

    def _told_until(self, row: ThreadRow, there: Here, text: str) -> str:
        """What a typed time means here and for this conversation."""
        from zoneinfo import ZoneInfo

        until = there.until(text)
        local = until.astimezone(ZoneInfo(there.timezone))
        told = f"until {local:%a} {local.day} {local:%b} {local:%H:%M}"
        if row.window_until is not None and row.window_until < until:
            told += "; the channel takes no answer from then on: its window closes before"
        return told

    @work(exclusive=True, exit_on_error=False, group="act")
    async def act_wake(self) -> None:
        from engine.operator.snooze import wake

        row = self.thread
        assert row is not None
        if await self.do(wake(self._pool, self._operator, row.id)) is not None:
            self.say(f"{_who(row)} is back among those who wait.", title="Awake")

    # Labels

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_label(self) -> None:
        from engine.observe.inbox import desk_words
        from engine.operator.labels import change_labels, labels_of

        row = self.thread
        assert row is not None
        known = (await desk_words(self._pool)).labels
        before = list(row.labels)

        def check(text: str) -> str:
            after = labels_of(text)
            added = [f"+{label}" for label in after if label not in before]
            removed = [f"-{label}" for label in before if label not in after]
            return " ".join([*added, *removed]) or "nothing changes"

        how = "Words with spaces between." + (f" Tab completes: {' '.join(known[:12])}" if known else "")
        text = "".join(f"{label} " for label in before)
        typed = await self.app.push_screen_wait(Ask(f"Labels of {_who(row)}", how, text, check, known=known))
        if typed is None:
            return
        after = labels_of(typed)
        await self.do(
            change_labels(
                self._pool,
                self._operator,
                row.id,
                add=[label for label in after if label not in before],
                remove=[label for label in before if label not in after],
            )
        )

    # Whose it is

    @work(exclusive=True, exit_on_error=False, group="act")
    async def act_mine(self) -> None:
        row = self.thread
        assert row is not None
        await self._assign(row, self.me)

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_erase(self) -> None:
        from console.screens.erasing import erase_customer

        row = self.thread
        assert row is not None
        await erase_customer(self, row.id, _who(row))

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_assign(self) -> None:
        from engine.observe.inbox import desk_words
        from engine.operator.assignment import name_of

        row = self.thread
        assert row is not None
        operators = (await desk_words(self._pool)).operators
        known = tuple(dict.fromkeys([self.me, *operators]))

        def check(text: str) -> str:
            return f"assigned to {name_of(text)}" if text.strip() else "nobody's"

        how = f"A name; nothing for nobody. Tab completes: {', '.join(known[:8])}"
        typed = await self.app.push_screen_wait(
            Ask(f"Assign {_who(row)} to", how, row.operator or "", check, known=known)
        )
        if typed is not None:
            await self._assign(row, typed.strip() or None)

    async def _assign(self, row: ThreadRow, to: str | None) -> None:
        from engine.operator.assignment import assign

        done = await self.do(assign(self._pool, self._operator, row.id, to))
        if done is None:
            return
        whose = (
            "nobody's"
            if done.operator is None
            else "yours"
            if done.operator == self.me
            else f"{done.operator}'s"
        )
        before = f"; it was {done.previous}'s" if done.changed and done.previous else ""
        answers = (
            " The AI goes on answering; t takes it over." if done.owner == "ai" and done.operator else ""
        )
        self.say(f"{_who(row)} is {whose}{before}.{answers}", title="Assigned")

    # The next one

    def act_next(self) -> None:
        """The conversation that has waited longest, or the one after this one."""
        following = self._following(self.chosen)
        if following is None:
            self.say("Nobody else waits.", title="Next")
        else:
            self.go_to(following)

    def _following(self, thread_id: int | None) -> int | None:
        """Who waits for a person after this one in the list, round to its beginning."""
        rows = self.query_one(ThreadList).rows
        place = next((n for n, item in enumerate(rows) if item.row.id == thread_id), -1)
        order = [*rows[place + 1 :], *rows[: max(0, place)]]
        return next((item.row.id for item in order if item.wanting), None)

    def go_to(self, thread_id: int) -> None:
        """Choose a conversation of the list."""
        raise NotImplementedError


def _who(row: ThreadRow) -> str:
    return row.who or row.address or f"thread {row.id}"
