"""Inbox: who waits for a person, the open conversation, and a composer to answer in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content

from console.actions import bindings
from console.screens.filtered import FilteredScreen
from console.screens.inbox_desk import InboxDesk
from console.screens.inbox_rows import Shown, ThreadList, shown
from console.screens.talk import in_the_last_minute
from console.widgets.arranged_list import ArrangedList
from console.widgets.composer import Composer
from console.widgets.filter_bar import FilterBar
from console.widgets.lines import Lines
from console.widgets.transcript import Transcript
from console.words import MUTED, count

if TYPE_CHECKING:
    from engine.observe.feed import Pool
    from engine.observe.inbox import Edge, Inbox, ThreadSearch
    from engine.observe.threads import ThreadRow

TICK_SECONDS = 10.0
"""How often ages and countdowns are looked at; they are told to the minute, the last one to the second."""


class InboxScreen(FilteredScreen, InboxDesk):
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

    def compose_area(self) -> ComposeResult:
        with Horizontal(id="panes"):
            with Vertical(id="list"):
                yield FilterBar(
                    "every conversation", "waiting · mine · label:vip · snoozed · a name or number"
                )
                yield ThreadList()
            with Vertical(id="talk"):
                yield Lines(id="head")
                yield Transcript(id="said")
                yield Composer(id="composer")
                yield Lines(id="hint")

    def on_mount(self) -> None:
        self.set_interval(TICK_SECONDS, self._tick, name="countdowns")
        self._seconds = self.set_interval(1.0, self.draw_talk, name="last minute", pause=True)

    # What is chosen

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
        if self.chosen is not None:
            renew.append(self.chosen)
        chosen = None if self.folded else self.chosen
        return await inbox(pool, self._search or ThreadSearch(), chosen=chosen, renew=renew)

    def show(self, view: Inbox) -> None:
        self._view = view
        for row in view.renewed:
            self.heard_of(row)
            if row.id in self._older:
                self._older[row.id] = row
        self._arrange()
        if view.chosen is not None and view.chosen.row.id == self.chosen:
            self.show_talk(view.chosen)
        if self._joined is not None and (view.edge.at, view.edge.id) > (self._joined.at, self._joined.id):
            self.read_older(view.edge, joining=True)
        self._count_seconds()
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
        if self.chosen not in {None, *urgent, *rest} and self.thread is not None:
            rows.insert(min(listed.cursor, len(rows)), self.thread)
        nothing = " Nothing matches." if self._search else " Nobody has written yet."
        listed.say_when_empty(Content.styled(nothing, MUTED))
        listed.show(
            tuple(
                shown(row, clock, me, wanting=row.id in urgent, writing=row.id in self.writings)
                for row in rows
            )
        )
        if not listed.has_focus and listed.row is not None and listed.row.row.id != self.chosen:
            listed.go_to(self.chosen)
        waiting = sum(row.waiting and row.snoozed_until is None for row in view.urgent)
        drafts = sum(row.drafted for row in view.urgent)
        parts = [f"{count(waiting)} wait{'s' if waiting == 1 else ''}"] if waiting else []
        parts += [f"✎ {count(drafts)} draft{'' if drafts == 1 else 's'}"] if drafts else []
        note = " · ".join(parts)
        self.query_one(FilterBar).tell(self._words, note)

    def _tick(self) -> None:
        """Ages and countdowns move on."""
        if self.is_current and self.composed:
            self._arrange()
            self.draw_talk()
        self._count_seconds()

    def _count_seconds(self) -> None:
        """Before a hand-back its seconds are seen to go by."""
        last = self.is_current and in_the_last_minute(self.thread, self.switchboard.clock)
        if last:
            self._seconds.resume()
        else:
            self._seconds.pause()

    # Choosing

    def on_arranged_list_highlighted(self, event: ArrangedList.Highlighted) -> None:
        item: Shown | None = event.row
        if item is None or item.row.id == self.chosen:
            return
        if self.chosen is None or event.rows.has_focus:
            self._choose(item.row.id)

    def on_arranged_list_opened(self, event: ArrangedList.Opened) -> None:
        self._choose(event.row.row.id)
        self.unfold()
        self.query_one(Transcript).focus()

    def _choose(self, thread_id: int) -> None:
        if thread_id == self.chosen:
            return
        self.keep_writing(self.chosen)
        self.chosen = thread_id
        item = next((item for item in self.query_one(ThreadList).rows if item.row.id == thread_id), None)
        if item is not None:
            self.heard_of(item.row)
        self.empty_talk()
        self.bring_writing(thread_id)
        self.tell_composer()
        self.refresh_bindings()
        if not self.folded:
            self.read_talk()

    def go_to(self, thread_id: int) -> None:
        self._choose(thread_id)
        self.query_one(ThreadList).go_to(thread_id)

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

    # The filter

    @property
    def _list(self) -> ThreadList:
        return self.query_one(ThreadList)

    def read_filter(self, words: str) -> ThreadSearch:
        from engine.observe.inbox import parse_threads

        return parse_threads(words, self.me)

    def filtered(self, words: str, search: ThreadSearch) -> None:
        self._words, self._search = words, search or None
        self._older.clear()
        self._edge = self._joined = None
        self.keep_writing(self.chosen)
        self.chosen = None
        self.query_one(ThreadList).start_anew()
        self.query_one(FilterBar).tell(words)
        self.poll()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.tell_composer()


def _recency(row: ThreadRow) -> tuple[float, int]:
    return (row.last_message_at.timestamp() if row.last_message_at else 0.0, row.id)
