"""Journal: the engine's log, what people did, failed calls to language models and schema runs, by time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.content import Content

from console.actions import bindings
from console.screens.filtered import FilteredScreen
from console.screens.journal_rows import EntryList, as_csv, as_jsonl, told
from console.widgets.arranged_list import ArrangedList
from console.widgets.filter_bar import FilterBar
from console.widgets.lines import Lines
from console.widgets.page import Page
from console.widgets.quiet import Quiet
from console.words import MUTED, count

if TYPE_CHECKING:
    from engine.observe.feed import Pool
    from engine.observe.journal import Entry, Journal, JournalSearch

ROUNDS = 8
"""Stretches read at once while a search finds little."""
CYCLE = ("", "log", "act", "llm", "schema", "alert")
ELSEWHERE = " Engine logs are with the engines; shown of the log: this console's own."
_THING = re.compile(r"\b(thread|message|send|turn):(\d{1,18})\b")


class JournalScreen(FilteredScreen):
    """The eighth area."""

    AREA = "journal"
    CSS_PATH = "journal.tcss"
    AUTO_FOCUS = "EntryList"
    BINDINGS: ClassVar[list[BindingType]] = bindings("journal")

    def __init__(self) -> None:
        super().__init__()
        self._journal: Journal | None = None
        self._words = ""
        self._search: JournalSearch | None = None

    def compose_area(self) -> ComposeResult:
        yield FilterBar(
            "log, acts of people, failed LLM calls, schema runs", "act · log warning · llm · a word"
        )
        yield Lines(id="elsewhere")
        with Horizontal(id="panes"):
            yield EntryList(self.switchboard.clock)
            with Page(id="detail"):
                yield Quiet(id="told")

    @property
    def _list(self) -> EntryList:
        return self.query_one(EntryList)

    def subject(self, kind: str) -> Any:
        if not self.composed:
            return None
        if kind == "entries":
            return self._list.rows or None
        entry: Entry | None = self._list.row
        return entry if kind == "entry" else thing(entry) if kind == "thing" and entry is not None else None

    def back(self) -> bool:
        """Close the entry, then clear the filter."""
        if self.has_class("-open"):
            self.remove_class("-open")
            self._list.focus()
        elif self._search:
            self.filter_by("")
        else:
            return False
        return True

    # Reading

    async def load(self, pool: Pool) -> int:
        from engine.observe.journal import Journal

        if self._journal is None:
            self._journal = Journal(self.switchboard.session.journal)
        return await self._journal.renew(pool)

    def show(self, view: int) -> None:
        elsewhere = self.switchboard.session.engine is None
        self.query_one("#elsewhere", Lines).show([Content.styled(ELSEWHERE, MUTED)] if elsewhere else [])
        self._arrange()

    def _arrange(self) -> None:
        from engine.observe.journal import JournalSearch

        if self._journal is None:
            return
        rows = self._journal.entries(self._search or JournalSearch())
        nothing = (
            " Nothing matches so far; g looks further back." if self._search else " Nothing has happened yet."
        )
        self._list.say_when_empty(Content.styled(nothing, MUTED))
        self._list.show(rows)
        self._tell_filter()
        self.refresh_bindings()

    def _tell_filter(self) -> None:
        journal = self._journal
        note = "● following" if self._list.follow else "G follows"
        if self._search and journal is not None and not journal.end:
            note = f"back to {self.switchboard.clock.full(journal.since)[:16]} · {note}"
        self.query_one(FilterBar).tell(self._words, note)

    def on_arranged_list_wanted(self) -> None:
        if self._journal is not None and not self._journal.end:
            self.read_older()

    @work(exclusive=True, exit_on_error=False, group="older")
    async def read_older(self) -> None:
        """What happened before; of a search, until it has found something or looked long enough."""
        from engine.observe.journal import JournalSearch

        journal, feed, search = self._journal, self.switchboard.session.feed, self._search or JournalSearch()
        if journal is None or feed is None:
            return
        had = len(self._list.rows)
        for _ in range(ROUNDS):
            await journal.older(feed.pool)
            if journal.end or len(journal.entries(search)) > had + 20:
                break
        self._arrange()

    def on_arranged_list_highlighted(self, event: ArrangedList.Highlighted) -> None:
        self._tell_filter()
        self.refresh_bindings()
        entry: Entry | None = event.row
        self.query_one("#told", Quiet).show(
            told(entry, self.switchboard.clock) if entry is not None else Content("")
        )
        self.query_one("#detail").scroll_home(animate=False)

    def on_arranged_list_opened(self, event: ArrangedList.Opened) -> None:
        self.toggle_class("-open")
        if self.has_class("-open") and self.has_class("-narrow"):
            self.query_one("#detail").focus()

    # The filter

    def read_filter(self, words: str) -> JournalSearch:
        from engine.observe.journal import parse_journal

        return parse_journal(words)

    def filtered(self, words: str, search: JournalSearch) -> None:
        self._words, self._search = words, search or None
        self._list.start_anew()
        self._arrange()
        if len(self._list.rows) < 20:
            self.on_arranged_list_wanted()

    def act_source(self) -> None:
        """Only the next source."""
        here = CYCLE.index(self._words) if self._words in CYCLE else -1
        self.filter_by(CYCLE[(here + 1) % len(CYCLE)])

    def act_follow(self) -> None:
        self._list.action_last()
        self._tell_filter()

    # Acts

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_export(self) -> None:
        """What is listed, to a file."""
        from console.screens.export import Export

        rows = tuple(self._list.rows)
        clock = self.switchboard.clock
        detail = f"What is listed, from {clock.full(rows[0].at)[:19]} to {clock.full(rows[-1].at)[:19]}."
        kind = await self.app.push_screen_wait(Export(f"Export {count(len(rows))} entries?", detail))
        if not kind:
            return
        text = as_csv(rows) if kind == "csv" else as_jsonl(rows)
        name = f"switchboard-journal-{clock.local(clock.now()):%Y%m%d-%H%M%S}.{kind}"
        self.deliver(text, name)

    @work(exclusive=True, exit_on_error=False, group="act")
    async def act_copy(self) -> None:
        from console.clipboard import copy

        try:
            self.say(await copy(self.app, as_jsonl([self.subject("entry")]).strip()))
        except ValueError as error:
            self.say(str(error), title="Not copied", bad=True)

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_open(self) -> None:
        """Go to what the entry is about."""
        from console.jumping import open_message, open_thread

        kind, number = self.subject("thing")
        await (open_thread if kind == "thread" else open_message)(self.switchboard, number)


def thing(entry: Entry) -> tuple[str, int] | None:
    """The thread or message that an entry is about."""
    for kind, number in _THING.findall(entry.about):
        if kind in ("thread", "message"):
            return kind, int(number)
    return None
