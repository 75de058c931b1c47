"""Schema: whether the database is what this program needs, what a run would do, and the runs there were."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content

from console.actions import bindings
from console.sanitise import cell
from console.screens import schema_panes as panes
from console.screens.area import AreaScreen
from console.screens.reader import Reader
from console.widgets.lines import Lines
from console.widgets.row_list import RowList
from console.widgets.status_bar import Status
from console.words import MUTED

if TYPE_CHECKING:
    from engine.observe.feed import Pool
    from engine.observe.schema import SchemaState


class SchemaScreen(AreaScreen):
    """The Schema area."""

    AREA = "schema"
    EVERY = 2.0
    CSS_PATH = "schema.tcss"
    BINDINGS: ClassVar[list[BindingType]] = bindings("schema")

    def __init__(self) -> None:
        super().__init__()
        self._state: SchemaState | None = None

    def compose_area(self) -> ComposeResult:
        yield Lines(id="verdict")
        with VerticalScroll(id="trouble", can_focus=False):
            yield Lines(id="blockers")
        with Horizontal(id="history"):
            yield panes.RunList(self.switchboard.clock, id="runs")
            with VerticalScroll(id="steps", can_focus=False):
                yield Lines(id="run")

    def on_mount(self) -> None:
        self.query_one("#verdict", Lines).show([Content.styled("Checking the schema …", MUTED)])
        self._runs.focus()

    @property
    def _runs(self) -> panes.RunList:
        return self.query_one("#runs", panes.RunList)

    async def load(self, pool: Pool) -> SchemaState:
        from engine.observe.schema import schema_state

        return await schema_state(pool)

    def show(self, view: SchemaState) -> None:
        self._state = view
        runs = tuple(reversed(view.runs))
        if not self._runs.rows or (runs and runs[-1].id < (self._runs.newest or 0)):
            from engine.observe.schema import RUNS

            self._runs.replace(runs, at_oldest=len(runs) < RUNS)
        else:
            self._runs.append(runs, at_newest=True)
        self._draw()

    def _draw(self) -> None:
        state = self._state
        if state is None:
            return
        self.query_one("#verdict", Lines).show(panes.verdict(state, self.switchboard.status.health))
        blockers = self.query_one("#blockers", Lines)
        blockers.show(panes.trouble(state, self.size.width - 4))
        self.query_one("#trouble").display = bool(blockers.lines)
        self._draw_run()
        self.refresh_bindings()

    def _draw_run(self) -> None:
        pane = self.query_one("#steps")
        self.query_one("#run", Lines).show(
            panes.run_lines(self._runs.row, self.switchboard.clock, max(20, pane.size.width - 2))
        )

    def tell(self, status: Status) -> None:
        super().tell(status)
        if self.is_mounted:
            self.call_after_refresh(self._draw)

    def subject(self, kind: str) -> Any:
        if kind == "blocker" and self._state is not None:
            return next(iter(self._state.check.blockers), None)
        return None

    # The runs

    def on_row_list_highlighted(self, event: RowList.Highlighted) -> None:
        self._draw_run()

    @work(exclusive=True, exit_on_error=False, group="older")
    async def on_row_list_wanted(self, event: RowList.Wanted) -> None:
        from engine.observe.schema import RUNS, runs_before

        feed = self.switchboard.session.feed
        if feed is not None and event.where == "older":
            older = await runs_before(feed.pool, event.edge)
            self._runs.prepend(older[::-1], at_oldest=len(older) < RUNS)

    # Acts

    async def on_lines_opened(self, event: Lines.Opened) -> None:
        match event.target:
            case ("run", _):
                await self.perform("schema.migrate")
            case ("copy", str(remedy)):
                await self._copy(remedy)

    async def act_copy(self) -> None:
        """The blockers and their remedies, for a message or a SQL prompt."""
        if self._state is not None:
            blockers = self._state.check.blockers
            await self._copy("\n".join(f"{b.what} ({b.where})\n{b.remedy}" for b in blockers))

    async def _copy(self, text: str) -> None:
        from console.clipboard import copy

        self.say(await copy(self.app, text))

    def act_plan(self) -> None:
        session = self.switchboard.session
        if session.feed is not None:
            self.app.push_screen(Plan(session.feed.dsn, session.place))

    @work(exclusive=True, exit_on_error=False, group="dialog")
    async def act_migrate(self) -> None:
        """Ask, then run the six steps before one's eyes."""
        from console.screens.confirm import Confirm
        from console.screens.migrate import Migrate

        session = self.switchboard.session
        now = panes.blockers_now(self._state)
        detail = Content.assemble(
            f"{now} Six steps on ",
            cell(session.place, limit=80),
            ", as at start-up: they only add, wait briefly for locks, and are recorded with your name. "
            "p shows their SQL.",
        )
        if not await self.app.push_screen_wait(
            Confirm("Migrate the schema?", detail, yes="Migrate", no="No")
        ):
            return
        await self.app.push_screen_wait(Migrate())
        self._runs.action_last()
        if session.feed is not None:
            session.feed.wake()


class Plan(Reader):
    """What a run would execute; reads the database in a thread, and changes nothing."""

    def __init__(self, dsn: str, place: str) -> None:
        super().__init__(
            "Migration plan", Content.styled("Comparing the database with this program …", MUTED)
        )
        self._dsn, self._place = dsn, place

    @work(exclusive=True, exit_on_error=False, group="plan")
    async def on_mount(self) -> None:
        from console.widgets.quiet import Quiet
        from engine.supervisor import plan

        made = await asyncio.to_thread(plan, self._dsn)
        self.query_one("#title", Quiet).show(panes.plan_title(made, self._place))
        self.fill(panes.plan_text(made))
