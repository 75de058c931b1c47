"""Messages: every message live, a filter, and the whole trip of the one under the cursor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal

from console.actions import bindings
from console.screens.messages_acts import MessagesActs
from console.widgets.filter_bar import FilterBar
from console.widgets.message_detail import DetailPane, Told
from console.widgets.message_list import MessageList
from console.widgets.row_list import RowList

if TYPE_CHECKING:
    from engine.observe.feed import Pool
    from engine.observe.search import MessageSearch
    from engine.observe.views import MessageRow, Page, Tail

OTHERWISE = {"similar": "no such words: these are like them", "scan": "within words, as no word begins so"}
EXAMPLE = "status:error channel:telegram tenant:1 provider:uniapi cost>0.01 words"
QUIET_LOOKS = 5
"""Looks without anything new after which no message can still be committed late."""


@dataclass(frozen=True)
class MessagesView:
    """What the next look brings: a first page, or what came since; and the open message."""

    page: Page | None
    tail: Tail | None
    told: Told | None
    problem: str = ""
    """Why there is no page."""


class MessagesScreen(MessagesActs):
    """The third area."""

    AREA = "messages"
    CSS_PATH = "messages.tcss"
    AUTO_FOCUS = "MessageList"
    BINDINGS: ClassVar[list[BindingType]] = bindings("messages")

    def __init__(self) -> None:
        super().__init__()
        self._seen: int | None = None
        """The newest id that was looked at; None before the first page."""
        self._quiet = 0
        self._reached = 0
        self._problem = ""
        """Why this search was given up; it is not tried again by itself."""

    def compose_area(self) -> ComposeResult:
        yield FilterBar("every message, live", EXAMPLE, id="filter")
        with Horizontal(id="panes"):
            yield MessageList(self.switchboard.clock, id="list")

    @property
    def _list(self) -> MessageList:
        return self.query_one(MessageList)

    def subject(self, kind: str) -> Any:
        return self._list.row if kind == "message" and self.composed else None

    def back(self) -> bool:
        """Close the message, then clear the filter."""
        if self._open_id is not None:
            self._close()
            return True
        if self._search:
            self.filter_by("")
            return True
        return False

    # Reading

    async def load(self, pool: Pool) -> MessagesView:
        from engine.observe import views
        from engine.observe.finding import first_page
        from engine.observe.search import MessageSearch, SearchError

        search = self._search or MessageSearch()
        told = await self._read_detail(pool) if self._open_id is not None else None
        if self._problem:
            return MessagesView(None, None, told, self._problem)
        if self._seen is None:
            try:
                page, self._search = await first_page(pool, search)
            except SearchError as error:
                self._problem = str(error)
                return MessagesView(None, None, told, self._problem)
            return MessagesView(page, None, told)
        rows = self._list.rows
        known = None
        if self._quiet < QUIET_LOOKS:
            known = frozenset(row.id for row in rows[-views.OVERLAP - views.PAGE :])
        renew = [row.id for row in self._list.in_view() if _may_change(row)]
        tail = await views.tail(pool, search, seen=self._seen, known=known, renew=renew)
        self._quiet = 0 if tail.new or tail.seen != self._seen else self._quiet + 1
        return MessagesView(None, tail, told)

    async def _read_detail(self, pool: Pool) -> Told | None:
        from engine.observe.explain import explanation
        from engine.observe.views import message_detail

        assert self._open_id is not None
        detail = await message_detail(pool, self._open_id)
        if detail is None:
            return None
        explained = await explanation(pool, self._open_id)
        return Told(detail, explained)

    def show(self, view: MessagesView) -> None:
        self._list.seek(self._search.pieces if self._search else ())
        if view.problem:
            self._list.replace((), at_oldest=True)
            self.query_one(FilterBar).refuse(view.problem)
        elif view.page is not None:
            self._list.replace(view.page.rows, at_oldest=view.page.end)
            self._reached = view.page.reached
            self._seen = max((row.id for row in view.page.rows), default=0)
        elif view.tail is not None:
            self._show_tail(view.tail)
        if view.told is not None and view.told.detail.chosen == self._open_id:
            self._detail.tell(view.told)
        if not view.problem:
            self._tell_filter()

    def _show_tail(self, tail: Tail) -> None:
        if tail.gap and self._list.follow:
            self._seen = None
            self.poll()
            return
        self._seen = tail.seen
        self._list.renew(tail.renewed)
        if self._list.at_newest:
            self._list.append(tail.new, at_newest=not tail.gap)

    def _tell_filter(self) -> None:
        listed = self._list
        words = self._search.words() if self._search else ""
        if listed.follow:
            note = "● following"
        elif listed.at_newest:
            note = "G follows"
        else:
            note = "older ones · G for the newest"
        if self._search and self._search.how and listed.rows:
            note = OTHERWISE[self._search.how]
        elif self._search and not listed.at_oldest and len(listed.rows) < 20:
            note = f"looked back to #{self._reached} · g looks further"
        self.query_one(FilterBar).tell(words, note)

    # The list

    def on_row_list_wanted(self, event: RowList.Wanted) -> None:
        self.read_page(event.where, event.edge)

    @work(exclusive=True, exit_on_error=False, group="page")
    async def read_page(self, where: str, edge: int) -> None:
        """Another page at one end of the list; the newest of all for an edge below zero."""
        from engine.observe import views
        from engine.observe.search import MessageSearch, SearchError

        feed = self.switchboard.session.feed
        if feed is None:
            return
        search = self._search or MessageSearch()
        if where == "older":
            try:
                page = await views.page_before(feed.pool, search, min(edge, self._reached or edge))
            except SearchError as error:
                self.query_one(FilterBar).refuse(str(error))
                return
            self._reached = page.reached
            self._list.prepend(page.rows, at_oldest=page.end)
        elif edge < 0:
            self._seen = None
            self.poll()
        else:
            page = await views.page_after(feed.pool, search, edge)
            self._list.append(page.rows, at_newest=page.end)
        self._tell_filter()

    def on_row_list_highlighted(self, event: RowList.Highlighted) -> None:
        self.refresh_bindings()
        self._tell_filter()
        if event.row is not None and self._open_id not in (None, event.row.id):
            self._open(event.row.id)

    def on_row_list_opened(self, event: RowList.Opened) -> None:
        self._open(event.row.id)

    def _open(self, message_id: int) -> None:
        if not self.query(DetailPane):  # made when it is first wanted: the list comes sooner without it
            self.query_one("#panes").mount(DetailPane(self.switchboard.clock, id="detail"))
        self._open_id = message_id
        self.add_class("-open")
        self.call_after_refresh(self._focus_what_shows)
        self.read_detail()

    def on_resize(self) -> None:
        self.call_after_refresh(self._focus_what_shows)

    def _focus_what_shows(self) -> None:
        """Where there is no room for the list beside the open message, the keys are for what is read."""
        lost = self.focused is None or self.focused is self._list
        if lost and self._open_id is not None and not self._list.display:
            self._detail.enter()

    @work(exclusive=True, exit_on_error=False, group="detail")
    async def read_detail(self) -> None:
        """Read the open message at once; the poll keeps it up to date."""
        feed = self.switchboard.session.feed
        if feed is None:
            return
        told = await self._read_detail(feed.pool)
        if told is not None and told.detail.chosen == self._open_id:
            self._detail.tell(told)

    def _close(self) -> None:
        self._open_id = None
        self.remove_class("-open")
        self._detail.tell(None)
        self._list.focus()

    # The filter

    def read_filter(self, words: str) -> MessageSearch:
        from engine.observe.search import parse_search

        return parse_search(words)

    def filtered(self, words: str, search: MessageSearch) -> None:
        self.search(search)

    def search(self, search: MessageSearch) -> None:
        """Show what matches, from the newest on."""
        self._search = search
        self._problem = ""
        self._seen = None
        self._list.empty = _nothing(bool(search))
        self._tell_filter()
        self.poll()

    async def open_thread(self, thread_id: int) -> None:
        """The messages of one conversation."""
        from engine.observe.search import MessageSearch

        self.search(MessageSearch(thread_id=thread_id))

    async def open_message(self, message_id: int) -> None:
        """One message, among those around it."""
        from engine.observe import views
        from engine.observe.search import MessageSearch

        feed = self.switchboard.session.feed
        assert feed is not None
        self._search, self._problem = None, ""
        before = await views.page_before(feed.pool, MessageSearch(), message_id + 1)
        after = await views.page_after(feed.pool, MessageSearch(), message_id)
        rows = (*before.rows, *after.rows)
        if not any(row.id == message_id for row in rows):
            self.say(f"There is no message {message_id}.", bad=True)
            return
        self._reached = before.reached
        self._seen = max(row.id for row in rows)
        self._list.replace(rows, at_oldest=before.end, at_newest=after.end)
        self._list.cursor = next(y for y, row in enumerate(rows) if row.id == message_id)
        self._open(message_id)
        self.poll()

    def act_next_view(self) -> None:
        self._change_view(1)

    def act_last_view(self) -> None:
        self._change_view(-1)

    def _change_view(self, step: int) -> None:
        if self._open_id is None:
            self._open(self.subject("message").id)
        else:
            self._detail.turn_view(step)


def _may_change(row: MessageRow) -> bool:
    """Whether a message on the screen can still become another one."""
    return row.status != "inbound_ai_replied" and row.read_at is None


def _nothing(searched: bool) -> Any:
    from textual.content import Content

    from console.words import MUTED

    return Content.styled(" Nothing matches." if searched else " No message has come yet.", MUTED)
