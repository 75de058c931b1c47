"""What a person does about messages: one, or all that the filter shows."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from textual import work

from console.screens.filtered import FilteredScreen
from console.widgets.message_detail import DetailPane

if TYPE_CHECKING:
    from engine.observe.search import MessageSearch
    from engine.operator.bulk import Acted

ALL_AT_ONCE = 10_000
"""Messages replayed by one act, at most."""
REPLAYABLE = ("inbound_error", "inbound_human_takeover")


class MessagesActs(FilteredScreen):
    """Messages as far as a person acts."""

    def __init__(self) -> None:
        super().__init__()
        self._search: MessageSearch | None = None
        self._open_id: int | None = None

    @property
    def _detail(self) -> DetailPane:
        return self.query_one(DetailPane)

    @work(exclusive=True, exit_on_error=False, group="act")
    async def act_replay(self) -> None:
        from engine.operator.replay import requeue

        message_id = self.subject("message").id
        acted = await self.do(requeue(self._pool, self._operator, [message_id]))
        if acted is not None:
            self._tell_acted(acted)

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_erase(self) -> None:
        from console.screens.erasing import erase_customer

        message = self.subject("message")
        await erase_customer(self, message.thread_id, message.who or "this customer")

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_replay_all(self) -> None:
        """Everything the filter shows that ended in an error or, if asked for, with a person."""
        from console.screens.confirm import Confirm
        from console.screens.working import Working
        from engine.observe.search import MessageSearch
        from engine.observe.views import matching_ids
        from engine.operator.replay import requeue

        search = self._search or MessageSearch()
        statuses = tuple(s for s in search.status or ("inbound_error",) if s in REPLAYABLE)
        if not statuses:
            self.say("The filter shows nothing that can be replayed.", title="Replay all", bad=True)
            return
        ids = await matching_ids(self._pool, replace(search, status=statuses), ALL_AT_ONCE)
        if not ids:
            self.say("No message that the filter shows can be replayed.", title="Replay all", bad=True)
            return
        many = f"{len(ids):,} message{'' if len(ids) == 1 else 's'}"
        detail = f"Filter: {self._search.words() if self._search else 'status:inbound_error'}"
        if not await self.app.push_screen_wait(
            Confirm(f"Replay {many}?", detail, yes=f"Replay {len(ids):,}")
        ):
            return
        acted = await self.app.push_screen_wait(
            Working(
                f"Replaying {many}",
                lambda progress: requeue(self._pool, self._operator, ids, progress=progress, note=detail),
            )
        )
        if acted is not None:
            self._tell_acted(acted)

    def _tell_acted(self, acted: Acted) -> None:
        skipped = "; ".join(f"{number} left: {reason}" for reason, number in acted.reasons.items())
        waits = f"{acted.count} wait{'s' if acted.count == 1 else ''} for the AI again"
        stopped = f"Stopped: {acted.not_reached:,} not replayed" if acted.not_reached else ""
        told = ". ".join(part for part in (waits, skipped, stopped) if part)
        self.say(told, title="Replay", bad=not acted.count)

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_dry_run(self) -> None:
        from console.screens.dry_run import DryRunDialog
        from engine.operator.dry_run import DryRun, dry_run
        from engine.operator.rehearsal import rehearsal

        message_id = self.subject("message").id
        settings = self.switchboard.session.settings
        assert settings is not None

        async def run() -> DryRun:
            simulated = self.switchboard.demo is not None
            async with rehearsal(self._pool, settings, simulated=simulated) as runner:
                return await dry_run(self._pool, self._operator, runner, message_id)

        await self.app.push_screen_wait(DryRunDialog(message_id, run))

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_what_if(self) -> None:
        """A version of an agent over what the filter shows."""
        from console.screens.what_if_start import ask_version, start

        trial = await ask_version(self)
        if trial is not None:
            await start(self, trial, self._search.words() if self._search else "status:answered")

    @work(exclusive=True, exit_on_error=False, group="act")
    async def act_take_over(self) -> None:
        from console.jumping import open_thread
        from console.screens.taking import take, told

        thread_id = self.subject("message").thread_id
        taken = await take(self, thread_id)
        if taken is None:
            return
        back_at = self.switchboard.clock.time(taken.auto_release_at)
        self.say(told(taken, back_at), title=f"Thread {thread_id} is yours")
        if "inbox" in self.switchboard.MODES:
            await open_thread(self.switchboard, thread_id)

    @work(exclusive=True, exit_on_error=False, group="act")
    async def act_copy(self) -> None:
        from console.clipboard import copy

        opened = self._detail.plain() if self._open_id is not None else ""
        text = opened or self.subject("message").text  # what is opened may not be read yet
        try:
            self.say(await copy(self.app, text))
        except ValueError as error:
            self.say(str(error), title="Not copied", bad=True)

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_export_all(self) -> None:
        """Every message the filter shows."""
        from console.screens.exporting import export_found
        from engine.observe.search import MessageSearch

        await export_found(self, self._search or MessageSearch())

    @work(exclusive=True, exit_on_error=False, group="act")
    async def act_export(self) -> None:
        """The message with all that is recorded of it, as JSON."""
        from console.widgets.detail_text import records
        from engine.observe.views import message_detail

        message_id = self.subject("message").id
        detail = await message_detail(self._pool, message_id)
        if detail is None:
            return
        text = json.dumps(records(detail), indent=2, ensure_ascii=False, default=str)
        self.deliver(text, f"switchboard-message-{message_id}.json")
