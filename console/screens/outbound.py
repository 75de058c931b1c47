"""Outbound: what leaves, what does not, and what a person decides about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content

from console.actions import bindings
from console.screens.outbound_acts import OutboundActs
from console.screens.outbound_detail import told
from console.screens.outbound_rows import GROUP_OF, Head, Send, SendList, group_of, heading, send
from console.widgets.arranged_list import ArrangedList
from console.widgets.filter_bar import FilterBar
from console.widgets.page import Page
from console.widgets.quiet import Quiet
from console.words import MUTED

if TYPE_CHECKING:
    from engine.observe.feed import Pool
    from engine.observe.outbound import Outbound, SendDetail, SendSearch
    from engine.observe.records import SendRow

TICK_SECONDS = 10.0


class OutboundScreen(OutboundActs):
    """The fourth area."""

    AREA = "outbound"
    CSS_PATH = "outbound.tcss"
    AUTO_FOCUS = "SendList"
    BINDINGS: ClassVar[list[BindingType]] = bindings("outbound")

    def __init__(self) -> None:
        super().__init__()
        self._view: Outbound | None = None
        self._older: dict[int, SendRow] = {}
        self._end = False
        """Of a group that is shown alone: nothing older is left to read."""
        self._open_id: int | None = None
        self._begun = False
        """The cursor has been put on the first send, below its heading."""

    def compose_area(self) -> ComposeResult:
        yield FilterBar(
            "everything on its way, and what has left", "unknown · failed · queued · channel:telegram"
        )
        with Horizontal(id="panes"):
            yield SendList()
            with Page(id="detail"):
                yield Quiet(id="told")

    def on_mount(self) -> None:
        self.set_interval(TICK_SECONDS, self._tick, name="ages")

    @property
    def _list(self) -> SendList:
        return self.query_one(SendList)

    def subject(self, kind: str) -> Any:
        if not self.composed or kind != "send":
            return None
        item = self._list.chosen
        return item.row if item is not None else None

    def back(self) -> bool:
        """From the detail to the list, to the unfiltered list."""
        if self.has_class("-open") and self.has_class("-narrow"):
            self.remove_class("-open")
            self._list.focus()
        elif self._search:
            self.filter_by("")
        else:
            return False
        return True

    # Reading

    async def load(self, pool: Pool) -> Outbound:
        from engine.observe.outbound import SendSearch, outbound

        renew = [
            item.id for item in self._list.in_view() if isinstance(item, Send) and item.id in self._older
        ]
        return await outbound(pool, self._search or SendSearch(), renew=renew)

    def show(self, view: Outbound) -> None:
        self._view = view
        for row in view.renewed:
            self._older[row.id] = row
        self._arrange()
        self.refresh_bindings()

    def _arrange(self) -> None:
        if self._view is None:
            return
        clock, items = self.switchboard.clock, list[Head | Send]()
        alone = self._search is not None and len(self._search.groups) == 1
        for group, rows, more in self._view.groups:
            if alone:
                older = (row for row in self._older.values() if group_of(row) == group)
                rows = tuple({row.id: row for row in (*rows, *older)}.values())
                more = more and not self._end
            items.append(heading(group, len(rows), more, None if self._search else self._known(group)))
            items += [send(row, clock, group) for row in rows]
        nothing = " Nothing matches." if self._search else " Nothing has been sent yet."
        self._list.say_when_empty(Content.styled(nothing, MUTED))
        self._list.show(tuple(items))
        if self._list.cursor == 0 and not self._begun and len(items) > 1:
            self._begun, self._list.cursor = True, 1
        self.query_one(FilterBar).tell(self._words)

    def _known(self, group: str) -> int | None:
        """How many health counts."""
        health = self.switchboard.status.health
        keys = {
            "unknown": ("failed", "unknown"),
            "failed": ("failed", None),
            "retry": ("retry_scheduled", None),
            "sending": ("processing", None),
            "queued": ("queued", None),
        }
        queues = health.queues if health is not None else []
        return next((q.count for q in queues if (q.status, q.outcome) == keys.get(group)), None)

    def _tick(self) -> None:
        """Ages and next tries move on; a receipt may have come for the send that is open."""
        if self.is_current and self.composed:
            self._arrange()
            self._read_open()

    def on_arranged_list_wanted(self) -> None:
        search, view = self._search, self._view
        if search is None or view is None or len(search.groups) != 1 or self._end or not view.groups:
            return
        group, rows, more = view.groups[0]
        if more and group in ("unknown", "failed", "cancelled", "sent"):
            self.read_older(min([*self._older, *(row.id for row in rows)]))

    @work(exclusive=True, exit_on_error=False, group="older")
    async def read_older(self, before: int) -> None:
        """The next page of a group that is shown alone."""
        from engine.observe.outbound import older_sends

        search, feed = self._search, self.switchboard.session.feed
        if feed is None or search is None:
            return
        rows = await older_sends(feed.pool, search, before)
        if search is self._search:
            self._older |= {row.id: row for row in rows}
            self._end = not rows
            self._arrange()

    # The send that is open

    def on_arranged_list_highlighted(self, event: ArrangedList.Highlighted) -> None:
        """Another send is chosen, or something has happened to it."""
        self.refresh_bindings()
        self._open_id = event.row.id if isinstance(event.row, Send) else None
        if self._open_id is None:
            self.query_one("#told", Quiet).show(Content(""))
        self._read_open()

    def _read_open(self) -> None:
        if self._open_id is not None and (not self.has_class("-narrow") or self.has_class("-open")):
            self.read_detail()

    def on_arranged_list_opened(self, event: ArrangedList.Opened) -> None:
        if isinstance(event.row, Head):
            self.filter_by(event.row.group)
        else:
            self.add_class("-open")
            self.call_after_refresh(self._focus_what_shows)
            self.read_detail()

    def on_resize(self) -> None:
        self.call_after_refresh(self._focus_what_shows)

    def _focus_what_shows(self) -> None:
        """Where there is no room for the list beside the open send, the keys are the text's."""
        if self.composed and not self._list.display:
            self.query_one("#detail").focus()

    @work(exclusive=True, exit_on_error=False, group="detail")
    async def read_detail(self) -> None:
        """Read the send under the cursor."""
        from engine.observe.outbound import send_detail

        feed, wanted = self.switchboard.session.feed, self._open_id
        if feed is None or wanted is None:
            return
        detail = await send_detail(feed.pool, wanted)
        if detail is not None and wanted == self._open_id:
            self._tell(detail)

    def _tell(self, detail: SendDetail) -> None:
        self.query_one("#told", Quiet).show(told(detail, self.switchboard.clock))

    # The filter

    async def open_queue(self, status: str, outcome: str | None) -> None:
        """Show the sends in a status, as the Overview counts them."""
        group = GROUP_OF.get(status, "sent")
        self.filter_by(outcome if status == "failed" and outcome in ("unknown", "cancelled") else group)

    def read_filter(self, words: str) -> SendSearch:
        from engine.observe.outbound import parse_sends

        return parse_sends(words)

    def filtered(self, words: str, search: SendSearch) -> None:
        self._words, self._search = words, search or None
        self._older.clear()
        self._end = self._begun = False
        self._list.start_anew()
        self.query_one(FilterBar).tell(words)
        self.poll()
