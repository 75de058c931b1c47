"""What a person does in the inbox: take over, write, note, hand back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on, work
from textual.content import Content
from textual.widgets import TextArea

from console.sanitise import cell
from console.screens.inbox_rows import moment
from console.screens.inbox_talk import InboxTalk
from console.screens.talk import keys, why_not_write
from console.widgets.composer import Composer, typeable
from console.widgets.lines import Lines
from console.widgets.transcript import Transcript
from console.words import MUTED

if TYPE_CHECKING:
    from engine.observe.threads import Draft
    from engine.operator.takeover import Release

MINUTES = 30
"""How much longer `+` keeps a conversation."""


class InboxActs(InboxTalk):
    """The inbox as far as a person acts."""

    def __init__(self) -> None:
        super().__init__()
        self.writings: dict[int, str] = {}
        """By conversation: what is written and not sent, of those that are not open."""
        self._notes: dict[int, str] = {}
        self._accepting: dict[int, Draft] = {}
        """By conversation: the AI's draft that lies in its composer."""
        self._sending = False

    @property
    def accepting(self) -> Draft | None:
        row = self.thread
        return self._accepting.get(row.id) if row is not None else None

    @property
    def _composer(self) -> Composer:
        return self.query_one("#composer", Composer)

    # Writing

    def why_not_write(self) -> str | None:
        """Why the chosen customer cannot be written to now."""
        row = self.thread
        if row is None:
            return "No conversation is chosen."
        if self.switchboard.read_only:
            return "This console is read-only."
        return why_not_write(row, self.switchboard.clock, self.accepting)

    def keep_writing(self, thread_id: int | None) -> None:
        """Put away what is written for a conversation that is left."""
        if thread_id is None:
            return
        if self._composer.text.strip():
            self.writings[thread_id] = self._composer.text
        else:
            self.writings.pop(thread_id, None)
            self._accepting.pop(thread_id, None)

    def bring_writing(self, thread_id: int) -> None:
        """Take out again what was written for a conversation."""
        self._composer.put(self.writings.pop(thread_id, ""))

    def tell_composer(self) -> None:
        composer, reason = self._composer, self.why_not_write()
        if composer.disabled != (reason is not None):
            composer.disabled = reason is not None
        composer.display = reason is None or bool(composer.text)
        if reason is not None:
            self._hint(cell(reason, MUTED))
        elif composer.has_focus:
            composer.tell(Content(""))
            self._hint(
                keys(
                    ("ctrl+s", "sends"),
                    ("ctrl+r", "canned replies"),
                    ("ctrl+g", "AI draft"),
                    ("esc", "leaves"),
                )
            )
        else:
            composer.tell(Content("r writes an answer"))
            self._hint(keys(("r", "write"), ("c", "canned replies"), ("+", "keep it longer")))

    def _hint(self, content: Content) -> None:
        self.query_one("#hint", Lines).show([content])

    @on(TextArea.Changed, "#composer")
    def written(self) -> None:
        """Emptied by hand, the composer no longer holds the AI's draft."""
        row = self.thread
        if row is not None and not self._composer.text.strip() and row.id in self._accepting:
            del self._accepting[row.id]
            self.tell_composer()
        self.refresh_bindings()

    @on(Composer.Left)
    def leave_composer(self) -> None:
        """Back to what was said."""
        self.query_one(Transcript).focus()

    def act_reply(self) -> None:
        self.unfold()
        self._composer.focus()

    @work(exclusive=True, exit_on_error=False, group="send")
    async def act_send(self) -> None:
        """Send what is written, once: while it is on its way to the queue, nothing is sent."""
        from engine.operator.reply import accept_draft, send_reply

        row, text = self.thread, self._composer.text
        if row is None or self._sending or not text.strip():
            return
        draft = self._accepting.get(row.id)
        self._sending = True
        self._composer.put("")
        try:
            if draft is None:
                sent = await self.do(send_reply(self._pool, self._operator, row.id, text))
            else:
                said = None if text == typeable(draft.text) else text
                sent = await self.do(accept_draft(self._pool, self._operator, draft.turn_id, said))
        finally:
            self._sending = False
        if sent is None:
            self._give_back(row.id, text, draft)

    def _give_back(self, thread_id: int, text: str, draft: Draft | None) -> None:
        """What was refused stands in its composer again."""
        if draft is not None:
            self._accepting[thread_id] = draft
        if self.thread is not None and self.thread.id == thread_id:
            self._composer.put(text + self._composer.text)
        else:
            self.writings[thread_id] = text + self.writings.get(thread_id, "")

    def act_accept(self) -> None:
        """Put the AI's draft into the composer, to be read, changed and sent."""
        talk = self.talk
        if talk is None or talk.draft is None:
            return
        self._accepting[talk.row.id] = talk.draft
        self._composer.put(talk.draft.text)
        self.unfold()
        self.tell_composer()
        self._composer.focus()

    @work(exclusive=True, exit_on_error=False, group="draft")
    async def act_draft(self) -> None:
        """Have the AI draft an answer for the person who answers here; into the composer, if that waits empty."""
        from engine.operator.drafts import draft_now

        row, settings = self.thread, self.switchboard.session.settings
        assert row is not None
        assert settings is not None
        self.say("The AI is asked for a draft …", title="Draft")
        simulated = self.switchboard.demo is not None
        if await self.do(draft_now(self._pool, self._operator, settings, row.id, simulated=simulated)):
            await self.renew_talk()
            if self.chosen == row.id and self._composer.has_focus and not self._composer.text.strip():
                self.act_accept()

    @work(exclusive=True, exit_on_error=False, group="draft")
    async def act_discard(self) -> None:
        from engine.operator.drafts import discard_draft

        talk = self.talk
        if talk is None or talk.draft is None:
            return
        turn_id = talk.draft.turn_id
        await self.do(discard_draft(self._pool, self._operator, turn_id))
        held = self._accepting.get(talk.row.id)
        if held is not None and held.turn_id == turn_id:
            del self._accepting[talk.row.id]
        await self.renew_talk()

    @work(exclusive=True, exit_on_error=False, group="act")
    async def act_mode(self) -> None:
        """As the agent has it, only drafts, always by itself: one after the other."""
        from engine.operator.drafts import ThreadMode, set_thread_mode

        row = self.thread
        assert row is not None
        turns: dict[str | None, ThreadMode | None] = {None: "suggest", "suggest": "auto", "auto": None}
        mode = turns[row.mode]
        await self.do(set_thread_mode(self._pool, self._operator, row.id, mode))
        await self.renew_talk()
        told = {"suggest": "The AI only drafts here.", "auto": "The AI sends here by itself."}
        self.say(told.get(mode or "", "The AI does here as its agent is set."), title="Mode")

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_canned(self) -> None:
        from console.screens.canned import CannedPicker
        from engine.operator.canned import list_canned

        row = self.thread
        assert row is not None
        replies = await list_canned(self._pool, row.tenant_id)
        if not replies:
            self.say(
                "There are no canned replies yet; they are kept in Settings.",
                title="Canned replies",
                bad=True,
            )
            return
        text = await self.app.push_screen_wait(CannedPicker(replies))
        if text is not None and self.thread is not None and self.thread.id == row.id:
            self.unfold()
            self._composer.focus()
            self._composer.add(text)

    # Notes

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_note(self) -> None:
        from console.screens.note import NoteDialog
        from engine.operator.reply import add_note

        row = self.thread
        assert row is not None
        who = row.who or row.address or f"thread {row.id}"
        keep, text = await self.app.push_screen_wait(NoteDialog(who, self._notes.pop(row.id, "")))
        if not keep or await self.do(add_note(self._pool, self._operator, row.id, text)) is None:
            self._notes[row.id] = text

    # Who answers

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_take_over(self) -> None:
        from console.screens.taking import take, told

        row = self.thread
        assert row is not None
        taken = await take(self, row.id)
        if taken is not None:
            self.say(told(taken, self.switchboard.clock.time(taken.auto_release_at)), title="Yours now")
            self.unfold()
            await self.renew_talk()
            self._composer.focus()

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_hand_back(self) -> None:
        from console.screens.hand_back import HandBack
        from engine.operator.takeover import release

        row = self.thread
        assert row is not None
        who = row.who or row.address or f"thread {row.id}"
        answer = await self.app.push_screen_wait(HandBack(who, row.unread))
        if not answer:
            return
        back = await self.do(release(self._pool, self._operator, row.id, answer_waiting=answer == "answer"))
        if back is not None:
            self.say(told_release(back), title="Handed back")

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_pause_ai(self) -> None:
        """The kill switch of this conversation: nobody takes it over, what comes waits."""
        from console.screens.pause import told
        from engine.operator.pause import pause, resume

        row = self.thread
        assert row is not None
        act = resume if row.paused == "thread" else pause
        done = await self.do(act(self._pool, self._operator, thread_id=row.id))
        if done is not None:
            self.say(told(done), title=row.who or row.address or f"Thread {row.id}")
            await self.renew_talk()

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_extend(self) -> None:
        from engine.operator.takeover import extend

        row = self.thread
        assert row is not None
        until = await self.do(extend(self._pool, self._operator, row.id, MINUTES))
        if until is not None:
            self.say(
                f"It goes back to the AI at {moment(self.switchboard.clock, until)}.", title="Kept longer"
            )

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_keep(self) -> None:
        from engine.operator.takeover import extend

        row = self.thread
        assert row is not None
        await self.do(extend(self._pool, self._operator, row.id, None))

    # Elsewhere

    def act_leave(self) -> None:
        self.back()

    @work(exclusive=True, exit_on_error=False, group="act")
    async def act_copy(self) -> None:
        from console.clipboard import copy

        entry = self.query_one(Transcript).entry
        if entry is None:
            return
        try:
            self.say(await copy(self.app, entry.body.plain))
        except ValueError as error:
            self.say(str(error), title="Not copied", bad=True)


def told_release(back: Release) -> str:
    """What a hand-back did, in words."""
    if back.already_ai:
        return "The AI answered it already."
    parts = ["The AI answers from the next message on"]
    if back.answered_by_ai:
        parts = [f"The AI answers {back.answered_by_ai} that waited, and what comes"]
    if back.left_parked:
        parts.append(f"{back.left_parked} of your time stay without its answer")
    return "; ".join(parts) + "."
