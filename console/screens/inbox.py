"""Inbox: who waits for a person, the open conversation, and a composer to answer in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content

from console.actions import bindings
from console.screens.inbox_acts import InboxActs
from console.screens.inbox_rows import Shown, ThreadList, shown
from console.screens.talk import entries, head
from console.widgets.arranged_list import ArrangedList
from console.widgets.composer import Composer
from console.widgets.filter_bar import FilterBar
from console.widgets.lines import Line, Lines
from console.widgets.transcript import Transcript
from console.words import MUTED, count

if TYPE_CHECKING:
    from engine.observe.feed import Pool
    from engine.observe.inbox import Edge, Inbox, OpenThread, ThreadSearch
    from engine.observe.threads import Said, ThreadRow

TICK_SECONDS = 10.0
"""How often ages and countdowns are looked at; they are told to the minute."""


class InboxScreen(InboxActs):
    """The second area."""

    AREA = "inbox"
    CSS_PATH = "inbox.tcss"
    AUTO_FOCUS = "ThreadList"
    BINDINGS: ClassVar[list[BindingType]] = bindings("inbox")

    def __init__(self) -> None:
        super().__init__()
        self._words = ""
        self._search: ThreadSearch | None = None
        self._view: Inbox | None = None
        self._older: dict[int, ThreadRow] = {}
        self._edge: Edge | None = None
        """How far the list was read; None: as far as the view goes."""
        self._joined: Edge | None = None
        """Where the older pages begin; when the view ends above it, what came between is read."""
        self._chosen: int | None = None
        self._talk: OpenThread | None = None
        self._said: dict[tuple[str, int], Said] = {}
        self._begins = False

    def compose_area(self) -> ComposeResult:
        with Horizontal(id="panes"):
            with Vertical(id="list"):
                yield FilterBar("every conversation", "waiting · mine · ai · telegram · a name or number")
                yield ThreadList()
            with Vertical(id="talk"):
                yield Lines(id="head")
                yield Transcript(id="said")
                yield Composer(id="composer")
                yield Lines(id="hint")

    def on_mount(self) -> None:
        self.set_interval(TICK_SECONDS, self._tick, name="countdowns")

    # What is chosen

    @property
    def thread(self) -> ThreadRow | None:
        """The chosen conversation, as it was read last."""
        if self._chosen is None or self._view is None:
            return None
        if self._talk is not None and self._talk.row.id == self._chosen:
            return self._talk.row
        rows = (*self._view.urgent, *self._view.recent, *self._view.renewed, *self._older.values())
        return next((row for row in rows if row.id == self._chosen), None)

    @property
    def talk(self) -> OpenThread | None:
        """The chosen conversation, once it has been read."""
        return self._talk if self._talk is not None and self._talk.row.id == self._chosen else None

    @property
    def _folded(self) -> bool:
        """Only the list is on the screen."""
        return self.has_class("-narrow") and not self.has_class("-open")

    def subject(self, kind: str) -> Any:
        if not self.composed:
            return None
        match kind:
            case "thread":
                return self.thread
            case "draft":
                return self.talk.draft if self.talk else None
            case "talk":
                return self.talk
            case "writing":
                return self._composer.text.strip() or None
            case "obstacle":
                return self.why_not_write()
        return None

    def back(self) -> bool:
        """From the composer to what was said, to the list, to the unfiltered list."""
        if self._composer.has_focus:
            self.query_one(Transcript).focus()
        elif self.has_class("-open") and self.has_class("-narrow"):
            self.remove_class("-open")
            self.query_one(ThreadList).focus()
        elif self.query_one(Transcript).has_focus:
            self.query_one(ThreadList).focus()
        elif self._search:
            self.filter_by("")
        else:
            return False
        return True

    # Reading

    async def load(self, pool: Pool) -> Inbox:
        from engine.observe.inbox import ThreadSearch, inbox

        renew = [item.row.id for item in self.query_one(ThreadList).in_view()]
        if self._chosen is not None:
            renew.append(self._chosen)
        chosen = None if self._folded else self._chosen
        return await inbox(pool, self._search or ThreadSearch(), chosen=chosen, renew=renew)

    def show(self, view: Inbox) -> None:
        self._view = view
        for row in view.renewed:
            if row.id in self._older:
                self._older[row.id] = row
        self._arrange()
        if view.chosen is not None and view.chosen.row.id == self._chosen:
            self._show_talk(view.chosen)
        if self._joined is not None and (view.edge.at, view.edge.id) > (self._joined.at, self._joined.id):
            self.read_older(view.edge, joining=True)
        self.refresh_bindings()

    def _arrange(self) -> None:
        """The list as it is at this moment. The chosen conversation stays in it until another one is chosen."""
        view = self._view
        if view is None:
            return
        clock, me = self.switchboard.clock, self.me
        urgent = {row.id: row for row in view.urgent}
        rest = {row.id: row for row in (*self._older.values(), *view.recent) if row.id not in urgent}
        rows = [*view.urgent, *sorted(rest.values(), key=_recency, reverse=True)]
        listed = self.query_one(ThreadList)
        if self._chosen not in {None, *urgent, *rest} and self.thread is not None:
            rows.insert(min(listed.cursor, len(rows)), self.thread)
        nothing = " Nothing matches." if self._search else " Nobody has written yet."
        listed.say_when_empty(Content.styled(nothing, MUTED))
        listed.show(
            tuple(
                shown(row, clock, me, wanting=row.id in urgent, writing=row.id in self.writings)
                for row in rows
            )
        )
        waiting = sum(row.waiting for row in view.urgent)
        note = f"{count(waiting)} wait{'s' if waiting == 1 else ''}" if waiting else ""
        self.query_one(FilterBar).tell(self._words, note)

    def _show_talk(self, talk: OpenThread) -> None:
        anew = self._talk is None or self._talk.row.id != talk.row.id
        if anew:
            self._said.clear()
            self._begins = False
        self._talk = talk
        self._said |= {(item.kind, item.id): item for item in talk.talk.said}
        self._begins = self._begins or talk.talk.end
        self._draw_talk(anew=anew)

    def _draw_talk(self, *, anew: bool = False) -> None:
        talk = self.talk
        if talk is None:
            return
        clock = self.switchboard.clock
        said = sorted(self._said.values(), key=lambda item: (item.at, item.kind == "note", item.id))
        self.query_one("#head", Lines).show(head(talk.row, clock, self.me))
        draft = None if self.accepting is not None else talk.draft
        told = entries(said, draft, clock, self.me, who=talk.row.who or talk.row.address, begins=self._begins)
        self.query_one(Transcript).show(told, anew=anew)
        self.tell_composer()

    def _tick(self) -> None:
        """Ages and countdowns move on."""
        if self.is_current and self.composed:
            self._arrange()
            self._draw_talk()

    # Choosing

    def on_arranged_list_highlighted(self, event: ArrangedList.Highlighted) -> None:
        item: Shown | None = event.row
        if item is None or item.row.id == self._chosen:
            return
        if self._chosen is None or event.rows.has_focus:
            self._choose(item.row.id)

    def on_arranged_list_opened(self, event: ArrangedList.Opened) -> None:
        self._choose(event.row.row.id)
        self.unfold()
        row = self.thread
        writable = row is not None and row.owner == "human" and not self._composer.disabled
        (self._composer if writable else self.query_one(Transcript)).focus()

    def unfold(self) -> None:
        """Show the conversation where only the list had room."""
        self.add_class("-open")
        self.read_talk()

    def _choose(self, thread_id: int) -> None:
        if thread_id == self._chosen:
            return
        self.keep_writing(self._chosen)
        self._chosen = thread_id
        self.query_one("#head", Lines).show([])
        self.query_one(Transcript).show((), anew=True)
        self.bring_writing(thread_id)
        self.tell_composer()
        self.refresh_bindings()
        if not self._folded:
            self.read_talk()

    @work(exclusive=True, exit_on_error=False, group="talk")
    async def read_talk(self) -> None:
        """Read the chosen conversation at once; the poll keeps it up to date."""
        await self.renew_talk()

    async def renew_talk(self) -> None:
        from engine.observe.inbox import open_thread

        feed = self.switchboard.session.feed
        if feed is None or self._chosen is None:
            return
        talk = await open_thread(feed.pool, self._chosen)
        if talk is not None and talk.row.id == self._chosen:
            self._show_talk(talk)
            self.refresh_bindings()

    def on_transcript_wanted(self) -> None:
        if self._said and not self._begins:
            self.read_before()

    @work(exclusive=True, exit_on_error=False, group="before")
    async def read_before(self) -> None:
        """What was said before the oldest message that is shown."""
        from engine.observe.threads import conversation

        thread_id, feed = self._chosen, self.switchboard.session.feed
        messages = [key[1] for key in self._said if key[0] == "message"]
        if feed is None or thread_id is None or not messages:
            return
        before = await conversation(feed.pool, thread_id, before=min(messages))
        if thread_id == self._chosen:
            self._said |= {(item.kind, item.id): item for item in before.said}
            self._begins = before.end
            self._draw_talk()

    def on_arranged_list_wanted(self) -> None:
        edge = self._edge or (self._view.edge if self._view else None)
        if edge is not None and not edge.end:
            self.read_older(edge)

    @work(exclusive=True, exit_on_error=False, group="older")
    async def read_older(self, edge: Edge, *, joining: bool = False) -> None:
        """The next page of the list; or, `joining`, what has left the view at its end."""
        from engine.observe.inbox import ThreadSearch, older_threads

        search, feed = self._search, self.switchboard.session.feed
        if feed is None:
            return
        rows, reached = await older_threads(feed.pool, search or ThreadSearch(), edge)
        if search is self._search:
            self._joined = edge if joining or self._joined is None else self._joined
            self._edge = self._edge if joining else reached
            self._older |= {row.id: row for row in rows}
            self._arrange()

    async def open_thread(self, thread_id: int) -> None:
        """Show a conversation, wherever it is in the list."""
        self._choose(thread_id)
        self.unfold()
        self.query_one(ThreadList).go_to(thread_id)
        self.query_one(Transcript).focus()

    def on_transcript_opened(self, event: Transcript.Opened) -> None:
        kind, number = event.target
        if kind == "message":
            self.open_message(number)
        elif kind == "draft":
            self.call_later(self.perform, "inbox.accept")

    # The filter

    def act_filter(self) -> None:
        self.query_one(FilterBar).edit()

    def on_filter_bar_changed(self, event: FilterBar.Changed) -> None:
        self.query_one(ThreadList).focus()
        self.filter_by(event.words)

    def on_filter_bar_given_up(self) -> None:
        self.query_one(ThreadList).focus()

    def filter_by(self, words: str) -> None:
        """Show the conversations that match these words."""
        from engine.observe.inbox import parse_threads
        from engine.observe.search import SearchError

        try:
            self._search = parse_threads(words, self.me) or None
        except SearchError as error:
            self.query_one(FilterBar).tell(self._words, str(error), bad=True)
            return
        self._words = words
        self._older.clear()
        self._edge = self._joined = None
        self.keep_writing(self._chosen)
        self._chosen = None
        self.query_one(ThreadList).start_anew()
        self.query_one(FilterBar).tell(words)
        self.poll()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.tell_composer()

    def tell_hint(self, content: Content) -> None:
        """The line below the composer."""
        self.query_one("#hint", Lines).show([Line(content)])


def _recency(row: ThreadRow) -> tuple[float, int]:
    return (row.last_message_at.timestamp() if row.last_message_at else 0.0, row.id)
