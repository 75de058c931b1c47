"""The conversation that is open in the inbox: read, kept up to date, shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import work

from console.screens.area import AreaScreen
from console.screens.talk import entries, head
from console.widgets.lines import Lines
from console.widgets.transcript import Transcript

if TYPE_CHECKING:
    from engine.observe.inbox import OpenThread
    from engine.observe.threads import Draft, Said, ThreadRow


class InboxTalk(AreaScreen):
    """The inbox as far as it is about one conversation."""

    def __init__(self) -> None:
        super().__init__()
        self.chosen: int | None = None
        """The conversation under the cursor."""
        self._row: ThreadRow | None = None
        self._talk: OpenThread | None = None
        self._said: dict[tuple[str, int], Said] = {}
        self._begins = False
        """Nothing was said before what is held."""

    @property
    def me(self) -> str:
        """The operator's name."""
        operator = self.switchboard.session.operator
        return operator.name if operator is not None else ""

    @property
    def thread(self) -> ThreadRow | None:
        """The chosen conversation, as it was read last."""
        return self._row if self._row is not None and self._row.id == self.chosen else None

    @property
    def talk(self) -> OpenThread | None:
        """The chosen conversation with what was said, once it has been read."""
        return self._talk if self._talk is not None and self._talk.row.id == self.chosen else None

    @property
    def folded(self) -> bool:
        """Only the list is on the screen."""
        return self.has_class("-narrow") and not self.has_class("-open")

    @property
    def accepting(self) -> Draft | None:
        """The AI's draft that lies in the composer."""
        raise NotImplementedError

    def tell_composer(self) -> None:
        """Whether the composer takes a text, and why not."""
        raise NotImplementedError

    def unfold(self) -> None:
        """Show the conversation where only the list had room."""
        self.add_class("-open")
        self.read_talk()

    def heard_of(self, row: ThreadRow) -> None:
        """A newer state of a conversation."""
        if row.id == self.chosen:
            self._row = row

    def empty_talk(self) -> None:
        """Another conversation is chosen, and has not been read yet."""
        self.query_one("#head", Lines).show([])
        self.query_one(Transcript).show((), anew=True)

    @work(exclusive=True, exit_on_error=False, group="talk")
    async def read_talk(self) -> None:
        """Read the chosen conversation at once; the poll keeps it up to date."""
        await self.renew_talk()

    async def renew_talk(self) -> None:
        """Read the chosen conversation and show it."""
        from engine.observe.inbox import open_thread

        feed = self.switchboard.session.feed
        if feed is None or self.chosen is None:
            return
        talk = await open_thread(feed.pool, self.chosen)
        if talk is not None and talk.row.id == self.chosen:
            self.show_talk(talk)
            self.refresh_bindings()

    def show_talk(self, talk: OpenThread) -> None:
        """Show what was said; older words that were read before stay."""
        anew = self._talk is None or self._talk.row.id != talk.row.id
        if anew:
            self._said.clear()
            self._begins = False
        self._talk = talk
        self.heard_of(talk.row)
        self._said |= {(item.kind, item.id): item for item in talk.talk.said}
        self._begins = self._begins or talk.talk.end
        self.draw_talk(anew=anew)

    def draw_talk(self, *, anew: bool = False) -> None:
        """The conversation as it is at this moment."""
        talk = self.talk
        if talk is None:
            return
        clock, row = self.switchboard.clock, self.thread or talk.row
        said = sorted(self._said.values(), key=lambda item: (item.at, item.kind == "note", item.id))
        self.query_one("#head", Lines).show(head(row, clock, self.me))
        draft = None if self.accepting is not None else talk.draft
        told = entries(said, draft, clock, self.me, who=row.who or row.address, begins=self._begins)
        self.query_one(Transcript).show(told, anew=anew)
        self.tell_composer()

    def on_transcript_wanted(self) -> None:
        if self._said and not self._begins:
            self.read_before()

    @work(exclusive=True, exit_on_error=False, group="before")
    async def read_before(self) -> None:
        """What was said before the oldest message that is shown."""
        from engine.observe.threads import conversation

        thread_id, feed = self.chosen, self.switchboard.session.feed
        messages = [key[1] for key in self._said if key[0] == "message"]
        if feed is None or thread_id is None or not messages:
            return
        before = await conversation(feed.pool, thread_id, before=min(messages))
        if thread_id == self.chosen:
            self._said |= {(item.kind, item.id): item for item in before.said}
            self._begins = before.end
            self.draw_talk()

    def on_transcript_opened(self, event: Transcript.Opened) -> None:
        kind, number = event.target
        if kind == "message":
            self.open_message(number)
        elif kind == "draft":
            self.call_later(self.perform, "inbox.accept")

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def open_message(self, message_id: int) -> None:
        """Its trip, in Messages."""
        from console.jumping import open_message

        await open_message(self.switchboard, message_id)
